"""A package of its own name here: some test dependencies install one called tests, too."""
