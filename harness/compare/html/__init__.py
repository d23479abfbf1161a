"""comparison.html: the whole comparison as one file that needs no network.

drill (completions and token credit -> what the page embeds), page (everything -> HTML, by page.html, page.css and
page.js beside it).
"""
