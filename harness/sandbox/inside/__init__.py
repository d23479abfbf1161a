"""What runs inside the sandbox: the program's process, the judge's process, and the wire between them.

Imported there by plain name and with the standard library only; start-up time counts, so imports are few.
"""
