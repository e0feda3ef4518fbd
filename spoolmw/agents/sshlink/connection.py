"""A connection to a host: every step of it either works or says what to do.

Rule 1: no password is ever asked for or sent.
Rule 2: no step waits longer than the target's `connect_s`; a dead peer is noticed by the kernel
(TCP_USER_TIMEOUT) as well as by the pings of whoever uses the connection.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from typing import Any

import paramiko

from spoolmw.agents.carrier.trouble import HostTrouble, trouble
from spoolmw.agents.sshlink import hostkeys
from spoolmw.agents.sshlink.target import Target

#: What a channel may have under way, in bytes. Measured over a veth pair (2 cores, AES-GCM): 8 MiB
#: and packets of 128 KiB give 350 MB/s down and 230 up; paramiko's own 2 MiB and 32 KiB give
#: 275 down, and starve a line with 100 ms of delay at 20 MB/s.
WINDOW_BYTES = 8 << 20
PACKET_BYTES = 128 << 10
SILENCE_MS = 8000  #: without an acknowledgement the kernel gives a connection up
#: The fastest first: it needs no digest beside the cipher.
CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes256-ctr")


class Connection:
    """A host that is logged in to. Use as a context manager, or close it."""

    def __init__(self, target: Target) -> None:
        """Connect, over as many hops as there are. Raises HostTrouble."""
        self.target = target
        self._clients: list[paramiko.SSHClient] = []
        self._proxy: subprocess.Popen[bytes] | None = None
        try:
            sock: Any = None
            for hop in (*target.through, target):
                sock = self._reach(hop, sock)
                self._clients.append(_log_in(hop, sock))
        except BaseException:
            self.close()
            raise

    @property
    def transport(self) -> Any:
        """The transport to the host itself."""
        return self._clients[-1].get_transport()

    def run(self, line: str) -> Any:
        """A channel on which the host runs this line. Raises HostTrouble."""
        try:
            channel = self.transport.open_session(
                window_size=WINDOW_BYTES,
                max_packet_size=PACKET_BYTES,
                timeout=self.target.connect_s,
            )
            channel.settimeout(self.target.connect_s)
            channel.exec_command(line)
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise trouble(
                "login",
                f"{self.target.name} does not run commands",
                why=_text(error),
                fix="does the account have a shell, and sshd no ForceCommand?",
            ) from error
        return channel

    def close(self) -> None:
        """Hang up, the last hop first. Never raises."""
        for client in reversed(self._clients):
            with contextlib.suppress(Exception):
                client.close()
        self._clients.clear()
        if self._proxy is not None:
            with contextlib.suppress(OSError):
                os.killpg(self._proxy.pid, signal.SIGKILL)
            self._proxy.wait()
            self._proxy = None

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _reach(self, hop: Target, before: Any) -> Any:
        """A socket, or a channel through the hop before, to the port of `hop`'s sshd."""
        if hop.command and not self._clients:
            return self._through_command(hop)
        try:
            if self._clients:
                way = self._clients[-1].get_transport()
                assert way is not None
                return way.open_channel(
                    "direct-tcpip",
                    (hop.address, hop.port),
                    ("127.0.0.1", 0),
                    window_size=WINDOW_BYTES,
                    max_packet_size=PACKET_BYTES,
                    timeout=hop.connect_s,
                )
            return _tuned(socket.create_connection((hop.address, hop.port), hop.connect_s))
        except (OSError, paramiko.SSHException, EOFError) as error:
            raise trouble(
                "address",
                f"{hop.name} cannot be reached ({hop.address} port {hop.port})",
                why=_text(error),
                fix=f"is it on, and does `ssh -p {hop.port} {hop.address}` reach it from here?",
            ) from error

    def _through_command(self, hop: Target) -> socket.socket:
        """What the user's own ProxyCommand connects to; as ssh does, a shell runs it."""
        line = hop.command.replace("%h", hop.address).replace("%p", str(hop.port))
        ours, theirs = socket.socketpair()
        with theirs:
            self._proxy = subprocess.Popen(
                ["/bin/sh", "-c", f"exec {line.replace('%r', hop.user)}"],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        return ours


def _tuned(sock: socket.socket) -> socket.socket:
    for level, option, value in (
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
        (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENCE_MS),
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 4),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 2),
        (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 2),
    ):
        sock.setsockopt(level, option, value)
    return sock


def _transport(sock: Any, **more: Any) -> paramiko.Transport:
    made = paramiko.Transport(
        sock,
        default_window_size=WINDOW_BYTES,
        default_max_packet_size=PACKET_BYTES,
        **more,
    )
    offered = made.get_security_options()
    wanted = [each for each in CIPHERS if each in offered.ciphers]
    offered.ciphers = (*wanted, *(each for each in offered.ciphers if each not in wanted))
    return made


def _log_in(target: Target, sock: Any) -> paramiko.SSHClient:
    client = paramiko.SSHClient()
    hostkeys.load(client, target)
    client.set_missing_host_key_policy(hostkeys.Refuse(target))
    try:
        client.connect(
            target.address,
            port=target.port,
            username=target.user,
            # As for ssh, a key's file that is not there is no error.
            key_filename=[key for key in target.keys if os.path.exists(key)] or None,
            look_for_keys=not target.only_these_keys,
            allow_agent=target.use_ssh_agent and not target.only_these_keys,
            sock=sock,
            timeout=target.connect_s,
            banner_timeout=target.connect_s,
            auth_timeout=target.connect_s,
            channel_timeout=target.connect_s,
            transport_factory=_transport,
        )
    except BaseException as error:
        client.close()
        sock.close()
        if isinstance(error, paramiko.BadHostKeyException):
            raise hostkeys.changed(target, error.key, error.expected_key) from error
        if isinstance(error, HostTrouble):
            raise
        if isinstance(error, paramiko.SSHException | OSError | EOFError | ValueError):
            raise _refused(target, error) from error
        raise
    return client


def _refused(target: Target, error: Exception) -> HostTrouble:
    if isinstance(error, paramiko.PasswordRequiredException):
        return trouble(
            "login",
            f"a key for {target.name} has a passphrase",
            why=_text(error),
            fix="put it into an ssh-agent that the daemon can reach, or give the daemon a key "
            "of its own (IdentityFile)",
        )
    if isinstance(error, paramiko.AuthenticationException):
        tried = ", ".join(target.keys) or "the default keys and the ssh-agent"
        return trouble(
            "login",
            f"{target.name} does not let {target.user} in",
            why=f"{_text(error)}; tried: {tried}",
            fix=f"put the daemon's public key into ~{target.user}/.ssh/authorized_keys there "
            "(ssh-copy-id), or set User and IdentityFile; passwords are never used",
        )
    return trouble(
        "address",
        f"{target.name} does not answer as an sshd does ({target.address} port {target.port})",
        why=_text(error),
        fix=f"does `ssh -v -p {target.port} {target.user}@{target.address}` work from here?",
    )


def _text(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or type(error).__name__
