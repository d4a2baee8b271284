"""What a batch shows of its rows: an index, a tally and a page."""
