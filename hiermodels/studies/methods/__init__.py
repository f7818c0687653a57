"""How one chunk of datasets is analysed: methods bound to a cell, their compiled programs, processes of a user's
own.
"""
