"""A seccomp-BPF filter: the system calls that plain Python needs, and no others.

Calls that are not on the list get EPERM: no sockets, no new processes or threads, no signals to others, no ptrace, no
mounts, no namespaces, no io_uring, no keys. Memory can't become executable, so code can't load native code beyond what
the helper has loaded. Changes of mode, owner and times report success but do nothing: Landlock does not see them, and
`shutil.copy` makes one. Needs no privileges.
"""

import ctypes
import errno
import platform
import sys

from tinygpt.evaluation.jail import kernel

_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32_BIT = 0x40000000
_MODE_FILTER = 2

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER_AT, _ARCH_AT, _ARGUMENTS_AT = 0, 4, 16
_PROT_EXEC = 4

_NONE = -1
# name: (x86_64, aarch64)
_ALLOWED = {
    "read": (0, 63), "write": (1, 64), "open": (2, _NONE), "close": (3, 57), "stat": (4, _NONE), "fstat": (5, 80),
    "lstat": (6, _NONE), "poll": (7, _NONE), "lseek": (8, 62), "munmap": (11, 215), "brk": (12, 214),
    "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139), "pread64": (17, 67), "pwrite64": (18, 68),
    "readv": (19, 65), "writev": (20, 66), "access": (21, _NONE), "pipe": (22, _NONE), "select": (23, _NONE),
    "sched_yield": (24, 124), "mremap": (25, 216), "madvise": (28, 233), "dup": (32, 23), "dup2": (33, _NONE),
    "nanosleep": (35, 101), "getpid": (39, 172), "sendfile": (40, 71), "exit": (60, 93), "uname": (63, 160),
    "flock": (73, 32), "fsync": (74, 82), "fdatasync": (75, 83), "truncate": (76, 45), "ftruncate": (77, 46),
    "getdents": (78, _NONE), "getcwd": (79, 17), "chdir": (80, 49), "fchdir": (81, 50), "rename": (82, _NONE),
    "mkdir": (83, _NONE), "rmdir": (84, _NONE), "link": (86, _NONE), "unlink": (87, _NONE), "symlink": (88, _NONE),
    "readlink": (89, _NONE), "umask": (95, 166), "gettimeofday": (96, 169), "getrlimit": (97, 163),
    "getrusage": (98, 165), "sysinfo": (99, 179), "times": (100, 153), "getuid": (102, 174), "getgid": (104, 176),
    "geteuid": (107, 175), "getegid": (108, 177), "getppid": (110, 173), "getpgrp": (111, _NONE),
    "getgroups": (115, 158), "getresuid": (118, 148), "getresgid": (120, 150), "getpgid": (121, 155),
    "getsid": (124, 156), "sigaltstack": (131, 132), "statfs": (137, 43), "fstatfs": (138, 44),
    "gettid": (186, 178), "time": (201, _NONE), "futex": (202, 98), "sched_getaffinity": (204, 123),
    "getdents64": (217, 61), "restart_syscall": (219, 128), "clock_gettime": (228, 113), "clock_getres": (229, 114),
    "clock_nanosleep": (230, 115), "exit_group": (231, 94), "openat": (257, 56), "mkdirat": (258, 34),
    "newfstatat": (262, 79), "unlinkat": (263, 35), "renameat": (264, 38), "linkat": (265, 37), "symlinkat": (266, 36),
    "readlinkat": (267, 78), "faccessat": (269, 48), "pselect6": (270, 72), "ppoll": (271, 73),
    "set_robust_list": (273, 99), "fallocate": (285, 47), "dup3": (292, 24), "pipe2": (293, 59), "preadv": (295, 69),
    "pwritev": (296, 70), "renameat2": (316, 276), "getrandom": (318, 278), "copy_file_range": (326, 285),
    "statx": (332, 291), "rseq": (334, 293), "close_range": (436, 436), "faccessat2": (439, 439),
}  # fmt: skip
_NOT_DONE_BUT_FINE = {
    "chmod": (90, _NONE), "fchmod": (91, 52), "chown": (92, _NONE), "fchown": (93, 55), "lchown": (94, _NONE),
    "utime": (132, _NONE), "utimes": (235, _NONE), "fchownat": (260, 54), "futimesat": (261, _NONE),
    "fchmodat": (268, 53), "utimensat": (280, 88), "fchmodat2": (452, 452),
}  # fmt: skip
_NOT_SUPPORTED = {
    "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7), "getxattr": (191, 8), "lgetxattr": (192, 9),
    "fgetxattr": (193, 10), "listxattr": (194, 11), "llistxattr": (195, 12), "flistxattr": (196, 13),
}  # fmt: skip
_MMAP, _MPROTECT, _SIGACTION, _PRLIMIT = (9, 222), (10, 226), (13, 134), (302, 261)
_FCNTL, _IOCTL, _CLONE3 = (72, 25), (16, 29), (435, 435)
# F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, the locks, F_DUPFD_CLOEXEC
_FCNTL_COMMANDS = (0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030)
# TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX: whether it is a terminal, and the flags of a descriptor
_IOCTL_REQUESTS = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)

Instruction = tuple[int, int, int, int]


class _Instruction(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint16), ("jt", ctypes.c_uint8), ("jf", ctypes.c_uint8), ("k", ctypes.c_uint32))


class Program(ctypes.Structure):
    """`struct sock_fprog`: a filter ready to be installed."""

    _fields_ = (("length", ctypes.c_uint16), ("filter", ctypes.POINTER(_Instruction)))


def supported() -> bool:
    """True if a filter can be made for this machine."""
    return sys.platform == "linux" and platform.machine() in _AUDIT_ARCH and sys.maxsize > 2**32


def program() -> Program:
    """The filter for this machine."""
    instructions = assemble(platform.machine())
    array = (_Instruction * len(instructions))(*(_Instruction(*instruction) for instruction in instructions))
    return Program(len(instructions), ctypes.cast(array, ctypes.POINTER(_Instruction)))


def install(filter_: Program) -> None:
    """Put the calling process under the filter. This can't be undone. Needs `no_new_privs`. Raises `OSError`."""
    kernel.prctl(kernel.PR_SET_SECCOMP, _MODE_FILTER, filter_)


def assemble(machine: str) -> list[Instruction]:
    """The filter's instructions for `x86_64` or `aarch64`."""
    column = list(_AUDIT_ARCH).index(machine)
    code: list[Instruction] = [
        (_LOAD, 0, 0, _ARCH_AT),
        (_EQUAL, 1, 0, _AUDIT_ARCH[machine]),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER_AT),
        (_AT_LEAST, 0, 1, _X32_BIT),
        (_RETURN, 0, 0, _KILL),
    ]
    conditional = [
        (_MMAP, _without_bits(2, _PROT_EXEC)),
        (_MPROTECT, _without_bits(2, _PROT_EXEC)),
        (_SIGACTION, _if_null(1)),
        (_PRLIMIT, _if_null(2)),
        (_FCNTL, _if_among(1, _FCNTL_COMMANDS, errno.EINVAL)),
        (_IOCTL, _if_among(1, _IOCTL_REQUESTS, errno.ENOTTY)),
        (_CLONE3, _refuse(errno.ENOSYS)),  # its flags can't be seen; the C library then tries clone, which gets EPERM
    ]
    always = [(numbers, [(_RETURN, 0, 0, _ALLOW)]) for numbers in _ALLOWED.values()]
    always += [(numbers, _refuse(0)) for numbers in _NOT_DONE_BUT_FINE.values()]
    always += [(numbers, _refuse(errno.ENOTSUP)) for numbers in _NOT_SUPPORTED.values()]
    for numbers, body in always + conditional:
        if numbers[column] != _NONE:
            code += [(_EQUAL, 0, len(body), numbers[column]), *body]
    return code + _refuse(errno.EPERM)


def _refuse(number: int) -> list[Instruction]:
    return [(_RETURN, 0, 0, _ERRNO | number)]


def _low_word(argument: int) -> Instruction:
    return (_LOAD, 0, 0, _ARGUMENTS_AT + 8 * argument)


def _without_bits(argument: int, bits: int) -> list[Instruction]:
    """Allow the call unless the argument has one of the bits."""
    return [_low_word(argument), (_ANY_BIT, 0, 1, bits), *_refuse(errno.EPERM), (_RETURN, 0, 0, _ALLOW)]


def _if_null(argument: int) -> list[Instruction]:
    """Allow the call if the argument, a pointer, is null: the call then only reads."""
    high_word = (_LOAD, 0, 0, _ARGUMENTS_AT + 8 * argument + 4)
    return [
        _low_word(argument),
        (_EQUAL, 0, 3, 0),
        high_word,
        (_EQUAL, 0, 1, 0),
        (_RETURN, 0, 0, _ALLOW),
        *_refuse(errno.EPERM),
    ]


def _if_among(argument: int, values: tuple[int, ...], otherwise: int) -> list[Instruction]:
    """Allow the call if the argument is one of the values."""
    tests: list[Instruction] = [(_EQUAL, len(values) - index, 0, value) for index, value in enumerate(values)]
    return [_low_word(argument), *tests, *_refuse(otherwise), (_RETURN, 0, 0, _ALLOW)]
