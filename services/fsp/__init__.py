"""Stand-in institutions (banks, mobile-money operators, a post office): accounts with books of their own. No real bank."""
