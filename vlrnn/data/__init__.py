"""From files to batches: images, scenes, cached features, Lightning data modules."""
