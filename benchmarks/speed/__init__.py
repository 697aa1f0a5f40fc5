"""How fast training and sampling are, against the straightforward composition of the networks."""
