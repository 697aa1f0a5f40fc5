"""Hyper-modulation: class-conditional StyleGAN2 from an unconditional one (Laria et al. 2022, arXiv:2112.02219)."""
