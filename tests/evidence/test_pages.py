from evidence.pages import table, write_section


def test_a_section_is_replaced_and_the_rest_is_kept(tmp_path):
    page = tmp_path / "page.md"
    write_section(page, "a", "make a", "first", "Title")
    page.write_text(page.read_text() + "\nby hand\n")
    write_section(page, "b", "make b", "other", "Title")
    write_section(page, "a", "make a", table(["x"], [["1"]]), "Title")
    text = page.read_text()
    assert text.startswith("# Title\n\n<!-- a: written by `make a` -->\n\n| x |\n| --- |\n| 1 |\n\n<!-- a: end -->")
    assert "first" not in text
    assert text.index("by hand") < text.index("<!-- b: written by `make b` -->\n\nother\n\n<!-- b: end -->")
