"""Fetching one file: resumed where it stopped, checked, and under its name only when it is whole.

Until then it is called ``<name>.<checksum>.part``. Because the checksum is in the name, a download that was interrupted
is never resumed with the bytes of another version.

The network is not trusted. Every address, even that of a redirect, is checked before anything is sent to it; no file
name comes from outside; no user name, password or .netrc entry is sent; every wait has a limit.
"""

import glob
import hashlib
import ipaddress
import os
import queue
import re
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urljoin

import requests
from urllib3.util import parse_url  # requests is built on it

from minigpt2.progress import progress_bar, write_line
from minigpt2.storage import hub_cache
from minigpt2.storage.files import lock_file, replace, sync_folder

TIMEOUT = (10, 30)  # seconds to connect, and between two bytes of an answer
PATIENCE = 60  # seconds until an answer starts, and for each CHUNK: slower than a kilobyte a second is too slow
WAITS = (0.5, 1, 2, 4)  # seconds before each retry
LONGEST_WAIT = 60  # seconds that a server may ask to wait before a retry
REDIRECTS = 10  # followed at most
CHUNK = 1 << 16  # bytes
LARGEST = 1 << 30  # bytes in a file of unknown length, at most


class DownloadError(OSError):
    """A file could not be downloaded, or something else arrived in its place.

    status: the HTTP status with which the server refused it, or None
    """

    def __init__(self, message, status=None):
        super().__init__(message)
        self.status = status


class Prevented(DownloadError):
    """Something that the person has set stands in the way: no other address would help."""


def download(url, path, size=None, sha256=None, description=None, largest=None):
    """Fetch ``url`` into the file ``path``, unless it already exists.

    After a lost connection or a temporary fault of the server it tries again a few times. The bytes that have arrived
    are kept, for the next call too, and only the rest is requested.

    If neither the caller nor the hub gives a checksum, only the length is checked, and that the answer is not a web
    page; if no length is given either, the file is refused.

    url: the address of the file: https, or http on this machine; the targets of redirects must be so too.
    path: the file to write; folders are made as needed.
    size: its length in bytes; by default as the hub gives it in ``X-Linked-Size``.
    sha256: its checksum in hexadecimal; by default as the hub gives it in ``X-Linked-Etag``.
    description: its name on the progress bar.
    largest: the most bytes that it may have.
    returns: ``path`` as a Path.
    raises: DownloadError when the file cannot be fetched, or has the wrong length or checksum, or when the network is
        not to be asked; OSError when ``path`` cannot be written (read-only folder, disk full). In neither case does
        ``path`` exist.
    """
    path = Path(path)
    if path.is_file():
        return path
    if setting := hub_cache.offline():
        raise Prevented(f"cannot download {url}: {setting} says not to ask the network; unset it, or put it at {path}")
    with _alone(path):
        for wait in (*WAITS, None):
            if path.is_file():  # another process has fetched it while this one waited
                return path
            try:
                return _download_once(url, path, size, sha256, description or path.name, largest)
            except (DownloadError, requests.RequestException) as error:
                if wait is None or not isinstance(error, _TryAgain):
                    kind = Prevented if isinstance(error, Prevented) else DownloadError
                    message = f"cannot download {url}: {str(error).rstrip('.')}"
                    raise kind(message, getattr(error, "status", None)) from error
                time.sleep(max(wait, error.wait))


class _TryAgain(DownloadError):
    """A failure that may pass, ``wait`` seconds from now or later."""

    def __init__(self, message, wait=0):
        super().__init__(message)
        self.wait = wait


def _download_once(url, path, size, sha256, description, largest):
    """Ask once for the missing part of ``path``; when the file is complete, check it and give it its name."""
    part, length = _left_over(path)
    start = max(length - 1, 0)  # a byte that we have already, since a range must not be empty
    headers = {"Accept-Encoding": "identity"}  # lengths and ranges count the file's own bytes
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        with _opened(url, headers) as response:
            _check_status(response)
            linked_size, linked_checksum = _linked(response)
            size, checksum = size or linked_size, sha256 or linked_checksum
            wanted = _part(path, checksum)
            if response.status_code == 200:  # the whole file: the server does not support ranges
                start = 0
            first, offered = _extent(response)
            if first != start or part not in (None, wanted):
                if part:
                    part.unlink()
                raise _TryAgain("the server's file does not continue the part left here; try again")
            size = _agreed_size(size, offered, largest)
            if checksum is None:
                _check_unknown(response, size)
            _receive(response, path, wanted, start, size, description)
    except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
        host = parse_url(url).host
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            raise DownloadError(
                f"{host} cannot prove that it is {host} ({_reason(error)}): is this machine's clock right, or "
                "is something in between? REQUESTS_CA_BUNDLE names a file of certificates to trust"
            ) from error
        raise _TryAgain(f"no connection to {host}, or it was lost ({_reason(error)})") from error
    return _finish(wanted, path, size, checksum, resumed=part is not None)


def _left_over(path):
    """The part of ``path`` left by earlier tries, or None, and its length.

    One without a checksum in its name is useless: it may be from another version.
    """
    with _cache_errors(path):
        _part(path, None).unlink(missing_ok=True)
        part = next(_parts(path), None)
        return part, part.stat().st_size if part else 0


def _part(path, checksum):
    return path.with_name(f"{path.name}.{checksum or 'unchecked'}.part")


def _parts(path):
    return path.parent.glob(f"{glob.escape(path.name)}.*.part")


@contextmanager
def _opened(url, headers):
    """The answer to a request; it is closed in the end, even while it is still being read."""
    response = _within(PATIENCE, lambda: _answer(url, headers))
    try:
        yield response
    finally:
        # There may be nothing left to interrupt, or urllib3 is older than 2.3 and cannot do it.
        with suppress(OSError, ValueError, RuntimeError, AttributeError):
            response.raw.shutdown()
        response.close()


def _answer(url, headers):
    """Request ``url`` and follow its redirects, each only after its address has been checked."""
    session, history = _Session(), []
    while True:
        if objection := objection_to(url):
            where = "a redirect leads to an address" if history else "expected an address that starts with https://,"
            raise DownloadError(f"{where} with {objection}")
        # A proxy is on another machine.
        proxies = dict.fromkeys(("http", "https", "all")) if _is_local(url) else None
        with _settings_of_the_network(url):
            response = session.get(
                url, headers=headers, stream=True, timeout=TIMEOUT, proxies=proxies, auth=lambda request: request
            )  # an `auth` that adds nothing, since without one .netrc is searched
        response.history = history
        target = response.headers.get("Location")
        if response.status_code not in (301, 302, 303, 307, 308) or not target:
            return response
        response.close()
        history = [*history, response]
        if len(history) > REDIRECTS:
            raise DownloadError(f"more than {REDIRECTS} redirects, the last from {parse_url(url).host}")
        try:
            target = urljoin(url, target)
        except ValueError:
            raise DownloadError("a redirect leads to something that is not an address") from None
        if url.lower().startswith("https:") and not target.lower().startswith("https:"):
            raise DownloadError("a redirect leads away from https")
        url = target


@contextmanager
def _settings_of_the_network(url):
    """Name the environment variable that is wrong where a proxy or certificates that it names cannot be used."""
    trusted = next((name for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE") if os.environ.get(name)), None)
    if url.lower().startswith("https:") and trusted and not os.path.exists(os.environ[trusted]):
        raise Prevented(f"{trusted} names {os.environ[trusted]}, which does not exist: correct or unset it")
    variable, proxy = _proxy(url)
    try:
        yield
    except requests.exceptions.SSLError as error:
        if trusted is None or "[X509" not in str(error):
            raise
        raise Prevented(
            f"{trusted} names {os.environ[trusted]}, which holds no certificates ({_reason(error)}): correct or unset "
            "it"
        ) from error
    except requests.exceptions.ProxyError as error:
        raise Prevented(
            f"the proxy {proxy}, which {variable} names, gives no connection ({_reason(error)}): correct or unset "
            f"{variable}"
        ) from error
    except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema) as error:
        if proxy is None:
            raise
        if "SOCKS" in str(error):
            raise Prevented(
                f"the proxy {proxy}, which {variable} names, needs one more package: pip install 'requests[socks]'"
            ) from error
        raise Prevented(
            f"{variable} names {proxy}, which is no address of a proxy such as http://127.0.0.1:3128: correct or "
            "unset it"
        ) from error


def _proxy(url):
    """The environment variable that names the proxy for an address, and the proxy, without name and password."""
    name = f"{parse_url(url).scheme}_proxy"
    for variable in (name, name.upper(), "all_proxy", "ALL_PROXY"):
        if value := os.environ.get(variable):
            return variable, re.sub(r"^(\w+://)?[^/]*@", r"\1", value)
    return "the system", None


class _Session(requests.Session):
    """Follows no redirect by itself, and does not read the body of one, which may be endless."""

    def get_redirect_target(self, response):
        return None


def objection_to(url):
    """The reason why nothing may be sent to an address, or None.

    The address is parsed by the parser with which requests connects, so that both agree on its host.
    """
    try:
        parts = parse_url(url)
    except ValueError:
        return "no host that can be read"
    if parts.scheme not in ("http", "https"):
        return f"the scheme {parts.scheme!r}" if parts.scheme else "no scheme"
    if not parts.host:
        return "no host"
    if parts.auth:
        return "a user name or password; none is needed, and none is sent"
    if parts.scheme == "http" and not _is_local(url):
        return f"plain http, to {parts.host}: anyone on the way could read and change the data"
    return None


def _is_local(url):
    """Whether an address belongs to this machine: localhost, 127.0.0.0/8 or ::1."""
    host = (parse_url(url).host or "").strip("[]").lower()
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _within(seconds, work):
    """Return or raise what ``work()`` does; _TryAgain if that takes too long.

    A socket's time-out starts again with every byte, so a server that sends one now and then would never time out. The
    work is therefore done by a thread that can be left behind.
    """
    outcome = queue.SimpleQueue()

    def run():
        try:
            outcome.put((work(), None))
        except BaseException as error:  # raised again below
            outcome.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    try:
        value, error = outcome.get(timeout=seconds)
    except queue.Empty:
        raise _TryAgain(f"the server is too slow: nothing useful in {seconds:g} seconds; try again later") from None
    if error is not None:
        raise error
    return value


def _reason(error):
    """The innermost message of an error from requests, which nests errors within errors."""
    while True:
        inner = getattr(error, "reason", None) or next((e for e in error.args if isinstance(e, Exception)), None)
        if not isinstance(inner, Exception):
            return f"{type(error).__name__}: {str(error)[:200]}"
        error = inner


def _linked(response):
    """The size and checksum that the hub gives for a file, each None if it gives none.

    They are in the hub's own answer, which for large files is a redirect to a storage server. The checksum of a
    large file is its sha256 (64 digits), that of any other the sha1 (40 digits) under which git stores it.
    """
    size = checksum = None
    for answer in (*response.history, response):
        headers = answer.headers
        etag = headers.get("X-Linked-Etag", "")
        if not etag and "X-Repo-Commit" in headers:  # from the hub: elsewhere an ETag can mean anything
            etag = headers.get("ETag", "")
        if match := re.fullmatch(r'(?:W/)?"?([0-9a-f]{64}|[0-9a-f]{40})"?', etag):
            checksum = checksum or match[1]
        if re.fullmatch("[0-9]{1,18}", headers.get("X-Linked-Size", "")):
            size = size or int(headers["X-Linked-Size"])
    return size, checksum


def _check_status(response):
    """Raise unless the answer is a file, a part of one, or "no such part" (416)."""
    status = response.status_code
    if status == 429 or status >= 500:
        wait = _retry_after(response.headers.get("Retry-After", ""))
        if wait > LONGEST_WAIT:
            when = timedelta(seconds=round(min(wait, 1e9)))
            raise DownloadError(f"the server wants to be left alone (HTTP status {status}); try again in {when}")
        raise _TryAgain(f"the server has trouble (HTTP status {status}); try again later", wait)
    if status not in (200, 206, 416):
        what = "there is no such file" if status == 404 else "the server refuses"
        raise DownloadError(f"{what} (HTTP status {status})", status)
    if (encoding := response.headers.get("Content-Encoding", "identity").lower()) != "identity":
        raise DownloadError(f"the server sends the file compressed ({encoding[:20]}), though it was asked not to")


def _retry_after(value):
    """The seconds that a Retry-After header, a number or a date, asks to wait; 0 if it is neither."""
    if re.fullmatch("[0-9]+", value):
        return float(value)
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return 0
    return max(0, (date.astimezone(UTC) - datetime.now(UTC)).total_seconds())


def _check_unknown(response, size):
    """Raise if nothing would distinguish a file without a checksum from a part of it or from a web page."""
    if size is None:
        raise DownloadError("the server gives neither a checksum nor a length, so nothing can be checked")
    if "html" in response.headers.get("Content-Type", "").lower():
        raise DownloadError("a web page came instead of the file: does this network want you to log in first?")


def _extent(response):
    """The position of the answer's first byte, and the length of the whole file, each None if not given."""
    if response.status_code == 200:
        length = response.headers.get("Content-Length", "")
        return 0, int(length) if re.fullmatch("[0-9]{1,18}", length) else None
    match = re.fullmatch(r"bytes ([0-9]{1,18})-[0-9]+/([0-9]{1,18})", response.headers.get("Content-Range", ""))
    return (int(match[1]), int(match[2])) if match else (None, None)


def _agreed_size(expected, offered, largest):
    """The length of a file, by what is expected and by what the server offers, each None if not known."""
    if None not in (offered, expected) and offered != expected:
        raise DownloadError(f"the server has {offered} bytes, expected {expected}")
    size = offered if expected is None else expected
    if None not in (size, largest) and size > largest:
        raise DownloadError(f"the server has {size:,} bytes, more than the {largest:,} of any such file")
    return size


def _receive(response, path, part, start, size, description):
    """Write the answer's body to ``part``, from byte ``start`` on, and flush it to the disk."""
    bar = progress_bar(desc=description, initial=start, total=size, unit="B", unit_scale=True, leave=True)
    with bar, _cache_errors(path), open(part, "ab") as file:
        file.truncate(start)
        chunks = response.iter_content(CHUNK)
        while chunk := _within(PATIENCE, lambda: next(chunks, b"")):
            file.write(chunk)
            bar.update(len(chunk))
            if file.tell() > (LARGEST if size is None else size):
                break
        file.flush()
        os.fsync(file.fileno())


def _finish(part, path, size, checksum, resumed):
    """Give ``part`` its name ``path`` if its length and checksum are right, else remove it."""
    with _cache_errors(path):
        length = part.stat().st_size
        if size is not None and length < size:
            raise _TryAgain(f"the connection was lost after {length} of {size} bytes")
        right_length = length <= LARGEST if size is None else length == size
        if right_length and (checksum is None or _checksum(part, checksum) == checksum):
            replace(part, path)
            sync_folder(path.parent)
            return path
        part.unlink()
    wrong = f"the download is not the file with {size} bytes and checksum {checksum}"
    if resumed:  # perhaps the part left over was bad
        raise _TryAgain(wrong)
    raise DownloadError(f"{wrong}: it was damaged on its way, or has changed on the server")


def _checksum(path, like):
    """``path``'s checksum of the same kind as ``like``: sha256, or git's sha1 of a header and the content."""
    with open(path, "rb") as file:
        if len(like) == 64:
            return hashlib.file_digest(file, "sha256").hexdigest()
        header = b"blob %d\0" % path.stat().st_size
        return hashlib.file_digest(file, lambda: hashlib.sha1(header, usedforsecurity=False)).hexdigest()


@contextmanager
def _alone(path):
    """Make ``path``'s folder and let one process at a time download into it: the others wait.

    In the end, remove the part that cannot be resumed.
    """
    with ExitStack() as stack:
        with _cache_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = lock_file(path.with_name(".lock"))
            if lock is None:
                write_line(f"waiting for another download into {path.parent}")
                lock = lock_file(path.with_name(".lock"), wait=True)
            stack.enter_context(lock)
        try:
            yield
        finally:
            _part(path, None).unlink(missing_ok=True)


@contextmanager
def _cache_errors(path):
    """Say what to do when the system refuses to write ``path``, and leave no part of it behind on a full disk."""
    try:
        yield
    except (DownloadError, requests.RequestException):  # these are OSErrors too
        raise
    except OSError as error:
        with suppress(OSError):
            for part in _parts(path):
                part.unlink()
        now = os.environ.get("MINIGPT2_CACHE")
        raise OSError(
            error.errno,
            f"cannot write to {path.parent} ({error.strerror}): make room or get permission to write there, "
            f"or set MINIGPT2_CACHE to another folder" + (f" than {now}" if now else ""),
        ) from error

