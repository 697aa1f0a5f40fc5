"""Networks, losses, data and the training loop of StyleGAN2-ADA."""
