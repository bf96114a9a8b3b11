"""A caption with [slots]: 'asim. a [closeup?] of a [man / woman / etc.] in [time period].'"""

import re

from sdstudio.schema import UserError

OPEN_SLOT = r"\[[^\[\]]+\]"


def check_template(template: str) -> None:
    """A UserError when a bracket has no partner: the editor would not find that slot, nor the check before training."""
    rest = re.sub(OPEN_SLOT, "", template)
    if "[" in rest or "]" in rest:
        raise UserError("A bracket of the template has no partner; write each slot as [words].")
