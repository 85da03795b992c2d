"""Figures as ratios within one run: the machine is noisy, so what is compared runs in turns, and medians are shown."""
