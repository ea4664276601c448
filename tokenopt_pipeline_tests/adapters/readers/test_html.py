"""HTML: tags in document order, loose text, containers that are no page margins."""

from __future__ import annotations

import pytest

from tokenopt_pipeline.adapters.readers import read_document


def cut(source: str) -> list[tuple[str, str]]:
    return [(block.type.value, block.text) for block in read_document("a.html", source.encode()).blocks]


@pytest.mark.parametrize(
    ("source", "blocks"),
    [
        pytest.param("<h2>A <em>b</em></h2>", [("heading", "A b")], id="heading"),
        pytest.param("<p>a <b>b</b>\n c<br>d</p>", [("paragraph", "a b c\nd")], id="paragraph"),
        pytest.param("<div>a<p>b</p>c</div>", [("paragraph", "a"), ("paragraph", "b"), ("paragraph", "c")], id="loose"),
        pytest.param("<header><p>a</p></header><footer>b</footer>", [("paragraph", "a"), ("paragraph", "b")],
                     id="header and footer are no page margins"),
        pytest.param("<script>x</script><style>y</style><p>a</p><!-- c -->", [("paragraph", "a")], id="dropped"),
        pytest.param("<ul><li>a<ol><li>b</ol><li></ul>",
                     [("list_item", "a"), ("list_item", "b"), ("list_item", "")], id="items"),
        pytest.param("<ul><li><p>a</p><pre>x</pre></ul>", [("list_item", "a"), ("code_block", "x")], id="loose item"),
        pytest.param("<ul><li><input type=checkbox checked> a</ul>", [("checkbox", "[x] a")], id="task"),
        pytest.param("<pre>\nx\n  y\n</pre>", [("code_block", "x\n  y")], id="code"),
        pytest.param("<table><caption>C</caption><tr><th>a<th>b<tr><td>1<td></table>",
                     [("caption", "C"), ("table", "a | b\n1 | ")], id="table"),
        pytest.param("<table><tr><td>a<table><tr><td>b</table></table>", [("table", "a b")], id="table in a table"),
        pytest.param("<figure><img src=x alt=Map><figcaption>F</figcaption></figure>",
                     [("figure", "Map"), ("caption", "F")], id="figure"),
        pytest.param("<p><img src=x></p>", [("figure", "")], id="picture without words"),
        pytest.param("<hr>", [("divider", "")], id="rule"),
        pytest.param("<dl><dt>T<dd>a<dd>b<dt>U<dd>c</dl>", [("definition", "T\n: a\n: b"), ("definition", "U\n: c")],
                     id="definitions"),
        pytest.param("<iframe src=x></iframe>", [("html_block", '<iframe src="x"></iframe>')], id="embedded"),
        pytest.param("<math><mi>x</mi></math>", [("other", "x")], id="formula"),
        pytest.param("<form><label>Name <input name=n value=v></label></form>", [("form_region", "Name: v")],
                     id="form"),
        pytest.param("<form><h1>A</h1><p>b</p><input></form>", [("heading", "A"), ("paragraph", "b")],
                     id="a form around a page is a container"),
        pytest.param("<section role=doc-endnotes><ol><li>n</ol></section>", [("footnote", "n")], id="notes"),
        pytest.param("<a href=x><div>a</div></a>", [("paragraph", "a")], id="link around a block"),
    ],
)  # fmt: skip
def test_each_element_becomes_its_type(source: str, blocks: list[tuple[str, str]]) -> None:
    assert cut(source) == blocks


def test_a_locator_names_the_element_by_its_path() -> None:
    _, second = read_document("a.html", b"<p>a</p><div><p>b</p></div>").blocks
    assert second.locator == {"path": "/html/body/div[1]/p[1]"}


def test_the_title_is_the_heads_or_the_first_top_heading() -> None:
    assert read_document("a.html", b"<title> A  b </title><h1>C</h1>").title == "A b"
    assert read_document("a.html", b"<h1>C</h1>").title == "C"


def test_text_below_any_depth_is_kept() -> None:
    assert cut("<div>" * 400 + "kept" + "</div>" * 400) == [("paragraph", "kept")]
    assert cut("<b>" * 400 + "kept" + "</b>" * 400) == [("paragraph", "kept")]
