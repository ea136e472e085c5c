"""Do sessions end when they should, and does their memory open none?"""

from upshift.console.sessions import IDLE_SECONDS, LONGEST_SECONDS, Sessions, same


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_session_is_found_by_its_token_alone() -> None:
    sessions = Sessions(Clock())
    token = sessions.open("digest")
    found = sessions.find(token)
    assert found is not None
    assert found.key_digest == "digest"
    assert sessions.find(token + "x") is None
    assert sessions.find("") is None
    assert token not in repr(vars(sessions))


def test_every_sign_in_has_another_token_and_another_word_for_forms() -> None:
    sessions = Sessions(Clock())
    one, other = sessions.open("digest"), sessions.open("digest")
    first, second = sessions.find(one), sessions.find(other)
    assert one != other
    assert first is not None
    assert second is not None
    assert not same(first.csrf, second.csrf)


def test_an_idle_session_ends_and_one_in_use_ends_too_in_time() -> None:
    clock = Clock()
    sessions = Sessions(clock)
    idle, used = sessions.open("digest"), sessions.open("digest")
    while clock.now <= LONGEST_SECONDS:
        assert sessions.find(used) is not None
        assert (sessions.find(idle) is None) == (clock.now > IDLE_SECONDS) or clock.now == 0
        clock.now += IDLE_SECONDS
        if clock.now > IDLE_SECONDS:
            break
    clock.now = IDLE_SECONDS * 1.5
    assert sessions.find(used) is not None
    clock.now = LONGEST_SECONDS + 1
    assert sessions.find(used) is None


def test_a_closed_session_is_closed() -> None:
    sessions = Sessions(Clock())
    token = sessions.open("digest")
    sessions.close(token)
    sessions.close(token)
    assert sessions.find(token) is None
