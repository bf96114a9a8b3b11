"""Words that would come to life where they are taken for markup, and whether they did."""

from playwright.sync_api import Page, expect

MARK = "hacked"
HOSTILE = (
    f'<img src=x onerror="window.{MARK}=1"><script>window.{MARK}=1</script><b class={MARK}>bold</b>',
    f"![x](https://evil.example/a.png) [link](javascript:window.{MARK}=1) **strong** # heading",
    f'</textarea></span>"><svg onload="window.{MARK}=1"> $\\frac{{1}}{{2}}$ :red[red] :material/home: `code` --- <br>',
    f"{{{{ {MARK} }}}} ${{window.{MARK}=1}} %s %(x)s \\u003cscript\\u003e &lt;b class={MARK}&gt;",
    "<https://evil.example> www.evil.example a@evil.example [x]: https://evil.example",
)


def is_text(page: Page) -> None:
    """What a person wrote stands on the page as it was written, and nothing in it came to life."""
    expect(page.get_by_text("Running", exact=True)).to_have_count(0)
    assert page.evaluate(f"window.{MARK}") is None
    alive = (f".{MARK}", "img[src*=evil]", "img[src$='/x']", "a[href*=evil]", "a[href^=javascript]", ".katex")
    assert page.locator(", ".join(alive)).count() == 0
