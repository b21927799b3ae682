"""Messages of WebSockets as channels, and terminal sizes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab.kubelet.serving import channels, remote
from netlab.kubelet.serving.channels import ChannelError, Protocol


def named(name: str) -> Protocol:
    found = channels.chosen([name], channels.REMOTE)
    assert found is not None
    return found


def test_which_protocol_is_spoken() -> None:
    assert named("v5.channel.k8s.io").closes and named("v4.base64.channel.k8s.io").text
    both = channels.chosen(["v9.channel.k8s.io", "v4.channel.k8s.io", "v5.channel.k8s.io"], channels.REMOTE)
    assert both is not None and both.name == "v4.channel.k8s.io"  # the client's order
    assert channels.chosen(["v9.channel.k8s.io"], channels.REMOTE) is None
    plain = channels.chosen([], channels.REMOTE)
    assert plain == Protocol("", json=False, channels=4)
    assert [p.channels for p in channels.forwarding(3)] == [6, 6]


@given(st.sampled_from(channels.REMOTE), st.integers(0, 3), st.binary())
def test_what_is_packed_is_unpacked(protocol: Protocol, channel: int, data: bytes) -> None:
    assert protocol.unpacked(protocol.packed(channel, data)) == (channel, data)


def test_the_end_of_a_channel_can_be_told_in_v5() -> None:
    assert named("v5.channel.k8s.io").unpacked(b"\xff\0") == (0, None)
    for message in (b"\xff", b"\xff\0\0", b"\xff\x09"):
        with pytest.raises(ChannelError, match="close signal"):
            named("v5.channel.k8s.io").unpacked(message)
    with pytest.raises(ChannelError, match="no channel 255"):
        named("v4.channel.k8s.io").unpacked(b"\xff\0")


def test_text_may_be_sent_where_bytes_are_expected() -> None:
    assert named("v4.channel.k8s.io").unpacked("\0line\n") == (0, b"line\n")
    assert named("base64.channel.k8s.io").unpacked(b"0eA==") == (0, b"x")


@pytest.mark.parametrize("message", [b"", "", b"\x09x", "9eA==", "\x7f", "é"])
def test_messages_that_are_none(message: bytes | str) -> None:
    for protocol in channels.REMOTE:
        with pytest.raises(ChannelError):
            protocol.unpacked(message)


@given(st.sampled_from(channels.REMOTE), st.binary() | st.text())
def test_no_message_is_more_than_wrong(protocol: Protocol, message: bytes | str) -> None:
    try:
        channel, _ = protocol.unpacked(message)
    except ChannelError:
        return
    assert 0 <= channel < protocol.channels


def test_sizes_come_in_pieces() -> None:
    sizes = remote.Sizes()
    assert sizes.feed(b'{"Width":80,"Hei') == []
    assert sizes.feed(b'ght":24}\n{"Width":1,"Height":2}{"Width"') == [(80, 24), (1, 2)]
    assert sizes.feed(b':0,"Height":5}[1]{"Width":true,"Height":5}{"Width":9,"Height":9}') == [(9, 9)]
    assert sizes.feed(b"nonsense") == []
    assert sizes.feed(b'{"Width":3,"Height":4}') == [(3, 4)]


@given(st.lists(st.binary(max_size=40)))
def test_no_size_breaks_the_terminal(chunks: list[bytes]) -> None:
    sizes = remote.Sizes()
    for chunk in chunks:
        assert all(0 < n < 1 << 16 for size in sizes.feed(chunk) for n in size)


def test_how_a_command_has_ended() -> None:
    assert remote.exited(["true"], 0) == {"metadata": {}, "status": "Success"}
    failed = remote.exited(["sh", "-c", "exit 3"], 3)
    assert failed["reason"] == "NonZeroExitCode"
    assert failed["details"] == {"causes": [{"reason": "ExitCode", "message": "3"}]}
    assert "error executing command [sh -c exit 3], exit code 3" in failed["message"]
    assert remote.failed("x")["message"] == "Internal error occurred: x"
