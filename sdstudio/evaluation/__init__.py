"""A comparison: protocol → pictures → features → results → report, all in one folder.

run_evaluate(protocol, context)        # the job
boards = list_boards(workspace)        # everything measured so far, rows of one protocol hash together
"""

from sdstudio.evaluation.boards import list_boards
from sdstudio.evaluation.protocol import check_protocol, protocol_hash
from sdstudio.evaluation.running import run_evaluate
from sdstudio.results import read_evaluation, read_results, results_table

__all__ = [
    "check_protocol",
    "list_boards",
    "protocol_hash",
    "read_evaluation",
    "read_results",
    "results_table",
    "run_evaluate",
]
