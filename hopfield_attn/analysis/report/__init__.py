"""The parts of a report: one HTML file without a network, every text in it escaped."""
