"""Texts that try to leave the place where they are shown or used."""

SCRIPTS = (
    "<script>hit()</script>",
    "</script><script>hit()</script>",
    "<img src=x onerror=hit()>",
    '"><svg onload=hit()>',
    "' onmouseover='hit()",
    "<!--<script>hit()",
    "]]><script>hit()</script>",
    "</title></textarea></style><script>hit()</script>",
    "<style>@import 'http://example.com/a.css'</style>",
    "<base href=//example.com/><link rel=stylesheet href=a.css>",
    "<iframe src=javascript:parent.hit()></iframe>",
    "javascript:hit()",
    "&lt;script&gt;hit()&lt;/script&gt; &#60; &amp",
    "![a](http://example.com/a.png) [b](javascript:hit())",
    "![a](/etc/hostname) ![b](../../../../etc/hostname)",
    "{hit()} ${hit()} {{body}} {{style}} {{turns}} `hit()`",
    "\\u003cscript\\u003ehit()\\u003c/script\\u003e \\x3cscript\\x3e \\",
    "a \u2028 hit() \u2029 //",
    "a');background:url(http://example.com/a.png);('",
)
"""Each calls hit() or sends a request where a page takes it for HTML, CSS, Markdown or code."""
PATHS = (
    "../../etc/passwd",
    "/etc/passwd",
    "..\\..\\windows\\system32",
    "C:\\windows",
    "..",
    ".",
    "~root",
    "a/b/../../../c",
    "%2e%2e%2f",
    "．．／．．／etc",
    "con",
    "NUL",
    "aux",
    "com1",
    "COM¹",
    "lpt9",
    "prn.txt",
    "CON .",
)
SHELL = (
    "; touch ran;",
    "$(touch ran)",
    "`touch ran`",
    "a | touch ran",
    "a && touch ran",
    "a > ran",
    "'; touch ran; '",
    '"; touch ran; "',
    "*",
    "!!",
    "$IFS$9touch${IFS}ran",
    "\\",
)
OPTIONS = ("--help", "--out=/tmp/ran", "-rf", "- a red car", "-")
MARKS = (
    "\u202ecat a\u202c",
    "a \u2066\u2067cat\u2069\u2069",
    "\u200fקסם\u200e cat",
    "e\u0301" * 20,
    "a" + "\u0300" * 300,
    "🦆" * 60,
    "\ufeffa cat",
    "a\u200bcat\u200d",
)
REFUSED = ("\0", "a\0b", "\x1b[2J", "\x07", "x" * 10_000, "\udcff", "", " \n ", *OPTIONS)
"""Prompts that no run takes."""
TAKEN = (*SCRIPTS, *PATHS, *SHELL, *MARKS, "a\ncat\r\nhere", "x " * 499)
