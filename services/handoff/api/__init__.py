"""Hand-off's HTTP: queries, commands for one lead and for many, and the pages behind one-click links."""
