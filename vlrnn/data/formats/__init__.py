"""Other people's files, a format per file: captions of COCO, Karpathy, Flickr and VizWiz, questions and answers
of VQA, GQA and TextVQA, results of all. Strings only; independent of metrics.
"""
