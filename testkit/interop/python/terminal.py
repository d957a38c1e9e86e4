"""coordctl's shell at a pseudo-terminal: completion, history, interrupt, resize, progress."""

import fcntl
import os
import pty
import re
import select
import struct
import sys
import termios
import time

BINARY, SERVER = sys.argv[1:3]


class Terminal:
    def __init__(self, *arguments):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvp(BINARY, [BINARY, "--server", SERVER, *arguments])
        self.seen = ""

    def type(self, keys):
        self.seen = ""
        os.write(self.fd, keys.encode())

    def expect(self, pattern):
        """Waits until what has come since the last keys has this in it."""
        deadline = time.time() + 20
        while not re.search(pattern, self.seen):
            left = deadline - time.time()
            if left <= 0 or not select.select([self.fd], [], [], left)[0]:
                sys.exit(f"never: {pattern!r} in {self.seen!r}")
            try:
                more = os.read(self.fd, 4096)
            except OSError:
                more = b""
            if not more:
                sys.exit(f"it ended before {pattern!r}: {self.seen!r}")
            self.seen += more.decode(errors="replace")

    def resize(self, columns):
        self.seen = ""
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def end(self):
        try:
            while os.read(self.fd, 4096):
                pass
        except OSError:
            pass
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


# Behind the end of a line: what is typed before that is the terminal's to interpret, as in every shell.
prompt = r"\n\r\x1b\[K" + re.escape(SERVER) + "> "
shell = Terminal()
shell.expect(prompt)

# Commands, znodes and flags are completed; where there are several ways on, they are shown.
shell.type("fin\t")
shell.expect("find ")
shell.type("/con\t/li\t")
shell.expect(r"find /config/limits\r")
shell.type(" --na\t'li*'\r")
shell.expect(r"\n/config/limits\r")
shell.expect(prompt)
shell.type("ex\t")
shell.expect(r"exit\s+export")
shell.type("\x15get \t")
shell.expect(r"get /(\x1b|\r)")
shell.type("config\t")
shell.expect("get /config/")
shell.type("\x15completions \t")
shell.expect(r"bash\s+elvish")
shell.type("\x15ls -o \t")
shell.expect(r"json\s+plain\s+table")
shell.type("\x15")

# An interrupt drops the line, or ends what runs.
shell.type("get /config/limits\x03")
shell.expect(r"\^C")
holder = Terminal("lock", "/held", "--", "sh", "-c", "echo it is ours; cat")
holder.expect("it is ours\r")
shell.type("lock /held -- echo never\r")
shell.expect(r"never\r")
time.sleep(0.3)
shell.type("\x03")
shell.expect(re.escape(SERVER) + "> ")
shell.type("watch -R /\r")
shell.expect(r"watch -R /\r")
time.sleep(0.3)
shell.type("\x03")
shell.expect("interrupted")
shell.expect(prompt)
shell.type("get /config/limits\r")
shell.expect(r"\n100\r")
shell.expect(prompt)

# What reads the standard input takes what is typed until it is interrupted, and nothing after that.
shell.type("import\r")
shell.expect(r"import\r")
time.sleep(0.3)
shell.type("\x03")
shell.expect("interrupted")
shell.expect(prompt)
shell.type("get /config/limits\r")
shell.expect(r"\n100\r")
shell.expect(prompt)
holder.type("\x04")
if (code := holder.end()) != 0:
    sys.exit(f"the holder ended with {code}")

# A line that is longer than the terminal shows where the cursor is, and all of it when there is room.
shell.type("set /config/limits 'a value that is longer than the terminal'")
shell.expect("terminal'")
shell.resize(40)
shell.expect(r"the terminal'\r\x1b\[\d+C")
shell.resize(120)
shell.expect("set /config/limits 'a value that is longer than the terminal'")
shell.type("\r")
shell.expect(prompt)
shell.type("\x04")
if (code := shell.end()) != 0:
    sys.exit(f"it ended with {code}")

# The history outlives the shell, and can be edited.
shell = Terminal("shell")
shell.expect(prompt)
shell.type("\x1b[A\x1b[A\r")
shell.expect("get /config/limits")
shell.expect("longer than the terminal\r")
shell.expect(prompt)
shell.type("quit\r")
if (code := shell.end()) != 0:
    sys.exit(f"it ended with {code}")

# Words stand out at a terminal.
status = Terminal("status")
status.expect(r"\x1b\[1mSERVER")
if (code := status.end()) != 0:
    sys.exit(f"it ended with {code}")
