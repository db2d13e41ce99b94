"""Figures: arrays in, matplotlib figures out; nothing here opens a file but `style.save_figure`."""
