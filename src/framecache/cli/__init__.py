"""The command line: ``framecache COMMAND …``.

What a command found goes to stdout; progress, questions, warnings and errors go to stderr. With
``--json``, stdout carries exactly one JSON document. An error is one line, and its exit code
names what to do about it:

====  =================================================================================
code  meaning
====  =================================================================================
0     done
1     any other failure; ``doctor`` found one; a question was answered with no
2     the command line, an id or a value is wrong
3     not cached, or a frame without a picture
4     cached with other settings or chunks
5     a chunk is missing, no video, or changed; or it gave no picture at all
6     the store refuses
7     the store cannot be reached, does not exist, or is full
8     stored bytes are not those committed
9     another program cleared the timeline meanwhile
130   interrupted
141   whoever read the output went away
====  =================================================================================
"""

from framecache.cli.app import main

__all__ = ["main"]
