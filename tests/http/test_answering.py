"""Is an answer written the same whether or not it is asked first if it is like nearly all others?"""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from upshift.http.answering import Refusal, SocketExchange, asked
from upshift.http.exchange import Headers


@dataclass
class Server:
    """What an exchange needs of a server."""

    closing: bool
    date: bytes = b"date: now\r\n"


@dataclass
class Line:
    """A connection that keeps what is written."""

    host: Server
    eof: bool
    stalled: bool = False
    written: list[tuple[bytes, bool]] = field(default_factory=list)

    def peer(self) -> str:
        return ""

    def write(self, data: bytes) -> None:
        raise AssertionError("a whole answer is one piece")

    def finish(self, data: bytes, last: bool) -> None:
        self.written.append((data, last))

    def ends(self) -> bool:
        return self.host.closing or self.eof

    def words(self, refusal: Refusal) -> tuple[Headers, bytes]:
        raise AssertionError(refusal)

    def complain(self, error: BaseException) -> None:
        raise AssertionError(error)

    def cut(self) -> None:
        raise AssertionError

    async def writable(self) -> None:
        raise AssertionError


@given(
    method=st.sampled_from([b"POST", b"GET", b"HEAD"]),
    keep=st.booleans(),
    old=st.booleans(),
    closing=st.booleans(),
    eof=st.booleans(),
    status=st.sampled_from([200, 204, 304, 404]),
    body=st.sampled_from([b"", b"hello"]),
)
def test_what_nearly_all_answers_are_is_what_the_questions_make_of_them(
    method: bytes, keep: bool, old: bool, closing: bool, eof: bool, status: int, body: bytes
) -> None:
    head = asked(method, b"/p?q", keep, old)
    fields: dict[bytes, bytes] = {}
    answers = []
    for each in (head, head._replace(plain=False)):
        line = Line(Server(closing), eof)
        SocketExchange(line, each, [], fields.get).respond(status, [(b"x", b"1")], body, b"y: 2\r\n")
        answers.append(line.written)
    assert answers[0] == answers[1]
    assert len(answers[0]) == 1
    assert b"x: 1\r\ny: 2\r\n" in answers[0][0][0]
