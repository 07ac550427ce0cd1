"""
Files of guests beyond what can be seen from outside: pictures cleaned in a process of their own, and scanners.

The order in which a file goes through, each step for what the ones before it have let pass:

    policy.media.check_media    name, type, size, content: pure, and a tenth of a second for 10 MB
    scanning.Scanner            the file as it came, where a scanner is set
    cleaning.MediaWorker        a picture is written anew, and made to fit
    policy.media.check_media    what came back, against the limits themselves

The first check may admit a picture that is larger than the limit, since it can be made to fit. Before an upload the
last two steps are done again where the session at hand takes less than the limits that the file was accepted under.
"""
