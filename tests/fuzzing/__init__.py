"""Made-up bad input, by numbers: the case of a kind and a number is the same on every machine.

`world` has what is good; `mutations` makes it bad; a file for each kind of input makes cases; `running` runs one and
judges.
"""
