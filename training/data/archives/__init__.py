"""Published data sets in the form in which they are published: MNIST, CIFAR-10, LSUN."""
