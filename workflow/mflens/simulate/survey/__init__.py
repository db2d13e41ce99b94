"""From shells to what a survey sees."""
