"""Try models in the browser: caption a picture, see where the model looked, ask questions about it.

python demo/app.py --quickstart runs/quickstart
python demo/app.py --captioner CKPT --generative CKPT --classifier CKPT --objects data/flickr8k
"""

import sys

if __name__ == "__main__":  # the process of the models imports this file, too
    from vlrnn.demo.app import main

    sys.exit(main())
