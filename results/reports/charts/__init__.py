"""The report's charts, as SVG to be put inside the page."""
