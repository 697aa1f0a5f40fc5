"""Image data sets by the names that NVLabs' tools and snapshots call them; training/data/ has the code."""

from .data.image_dataset import Dataset, ImageFolderDataset

__all__ = ['Dataset', 'ImageFolderDataset']
