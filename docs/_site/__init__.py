"""What the site needs besides Sphinx: docstrings in Markdown, the gallery, links, and a check of what was built."""
