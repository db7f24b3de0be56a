"""Readers of official files, one format per file: captions of COCO, Karpathy, Flickr and VizWiz; questions and answers
of VQA, GQA and TextVQA; results. Strings only."""
