"""The article's own job by this engine in each of its tiers, and by what a user would pick instead."""
