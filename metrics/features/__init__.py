"""Features of images: detectors, collection, cache, nearest neighbours."""
