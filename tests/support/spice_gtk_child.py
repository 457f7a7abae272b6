"""The C client as a program of its own: SpiceClientGLib by GObject introspection, without a window.

Runs under the system's python, which has the bindings. Reads one JSON command a line, and writes one JSON event a line;
`t` of an event is the system's monotonic clock in seconds, the same in all processes.
"""

import ctypes
import json
import os
import sys
import time
import zlib

import gi

gi.require_version("SpiceClientGLib", "2.0")
from gi.repository import Gio, GLib, GObject, SpiceClientGLib  # noqa: E402

NAMES = {
    SpiceClientGLib.MainChannel: "main",
    SpiceClientGLib.DisplayChannel: "display",
    SpiceClientGLib.InputsChannel: "inputs",
    SpiceClientGLib.CursorChannel: "cursor",
    SpiceClientGLib.PlaybackChannel: "playback",
    SpiceClientGLib.RecordChannel: "record",
    SpiceClientGLib.PortChannel: "port",
}


# Sessions and channels have a `connect` of their own, which hides that of signals.
on = GObject.Object.connect


def tell(event, **members):
    line = json.dumps({"event": event, "t": time.monotonic(), **members})
    os.write(1, line.encode() + b"\n")


class Picture:
    """The primary surface of one display: where its pixels are, and the part of it that is watched."""

    def __init__(self, display):
        self.display = display
        self.address = self.width = self.height = self.stride = 0
        self.region = None
        self.last = None
        self.is_due = False
        on(display, "display-primary-create", self.create)
        on(display, "display-primary-destroy", self.destroy)
        on(display, "display-invalidate", self.invalidate)
        on(display, "display-mark", lambda _, mark: self.say("mark", mark=mark))

    def say(self, event, **members):
        tell(event, display=self.display.props.channel_id, **members)

    def create(self, _, pixel_format, width, height, stride, shmid, address):
        self.address, self.width, self.height, self.stride = address, width, height, stride
        self.last = None
        self.say("primary", format=pixel_format, width=width, height=height)

    def destroy(self, _):
        self.address = 0
        self.say("no-primary")

    def rows(self, x, y, width, height):
        for row in range(y, y + height):
            yield ctypes.string_at(self.address + row * self.stride + x * 4, width * 4)

    def invalidate(self, _, x, y, width, height):
        if self.region is None or not self.address:
            return
        left, top, wide, high = self.region
        if left + wide > self.width or top + high > self.height:
            return
        if x >= left + wide or y >= top + high or x + width <= left or y + height <= top:
            return
        if not self.is_due:
            self.is_due = True
            GLib.idle_add(self.look)

    def look(self):
        """Once all is drawn that has come: a change of the guest's screen comes in several pieces."""
        self.is_due = False
        if not self.address or self.region is None:
            return
        wide = self.region[2]
        crc, colours = 0, set()
        for row in self.rows(*self.region):
            crc = zlib.crc32(row, crc)
            colours |= {row[:4], row[-4:], row[wide // 2 * 4 : wide // 2 * 4 + 4]}
        if crc != self.last:
            self.last = crc
            self.say("frame", crc=crc, blank=len(colours) == 1)

    def rgb(self):
        pixels = b"".join(self.rows(0, 0, self.width, self.height))
        rgb = bytearray(self.width * self.height * 3)
        for channel in range(3):
            rgb[channel::3] = pixels[2 - channel :: 4]
        return bytes(rgb)


class Viewer:
    """One session, commanded by lines."""

    def __init__(self, loop):
        self.loop = loop
        self.session = None
        self.pictures = {}
        self.inputs = None
        self.target_password = None
        self.main = self.record = None
        self.ports = {}
        self.heard = bytearray()

    def do_connect(
        self, uri, password=None, target_password=None, ca_file=None, host_subject=None, region=None, audio=False
    ):
        self.target_password = target_password
        self.region = region
        session = self.session = SpiceClientGLib.Session()
        settings = {"uri": uri, "password": password, "ca_file": ca_file, "cert_subject": host_subject}
        for name, value in settings.items():
            if value is not None:
                session.set_property(name.replace("_", "-"), value)
        if host_subject is not None:
            session.props.verify = SpiceClientGLib.SessionVerify.SUBJECT
        for feature in "enable-smartcard", "enable-usbredir":
            session.set_property(feature, False)
        session.props.enable_audio = audio
        on(session, "channel-new", self.channel_new)
        on(session, "channel-destroy", self.channel_destroy)
        on(session, "disconnected", lambda _: tell("disconnected"))
        on(session, "notify::migration-state", self.migration_state)
        on(session, "mm-time-reset", lambda _: tell("mm-time-reset"))
        if not session.connect():
            tell("channel", type="main", id=0, what="error-connect", reason="cannot begin to connect")

    def migration_state(self, session, _):
        tell("migration", state=session.props.migration_state.value_nick)

    def channel_new(self, _, channel):
        name, number = NAMES.get(type(channel), type(channel).__name__), channel.props.channel_id
        tell("channel", type=name, id=number, what="new")
        on(channel, "channel-event", self.channel_event, name, number)
        if name == "main":
            on(channel, "migration-started", self.migration_started)
            self.watch_agent(channel)
        elif name == "playback":
            self.watch_playback(channel)
        elif name == "record":
            self.watch_record(channel)
        elif name == "port":
            self.watch_port(channel, number)
        elif name == "display":
            picture = self.pictures[number] = Picture(channel)
            picture.region = self.region
        elif name == "inputs":
            self.inputs = channel
        if name not in ("main", "port"):
            channel.connect()

    def watch_agent(self, main):
        self.main = main
        on(main, "notify::agent-connected", lambda *_: tell("agent", connected=main.props.agent_connected))
        on(main, "main-agent-update", lambda *_: tell("agent-capabilities", capabilities=main.props.agent_caps_0))
        on(main, "main-clipboard-selection", self.clipboard)
        on(main, "main-clipboard-selection-grab", self.clipboard_grab)
        on(main, "main-clipboard-selection-request", self.clipboard_request)
        on(main, "main-clipboard-selection-release", lambda _, which: tell("clipboard-release", selection=which))

    def clipboard(self, _, selection, kind, address, size):
        data = ctypes.string_at(address, size) if size else b""
        tell("clipboard", selection=selection, type=kind, size=size, crc=zlib.crc32(data))

    def clipboard_grab(self, _, selection, types, count):
        tell("clipboard-grab", selection=selection, types=list(types))
        return True

    def clipboard_request(self, _, selection, kind):
        tell("clipboard-request", selection=selection, type=kind)
        return True

    def do_clipboard_grab(self, selection, types):
        self.main.clipboard_selection_grab(selection, types)

    def do_clipboard_request(self, selection, type):
        self.main.clipboard_selection_request(selection, type)

    def do_clipboard_give(self, selection, type, data):
        self.main.clipboard_selection_notify(selection, type, bytes.fromhex(data))

    def do_clipboard_release(self, selection):
        self.main.clipboard_selection_release(selection)

    def do_fit(self, width, height):
        """The window has this size."""
        self.main.update_display_enabled(0, True, False)
        self.main.update_display(0, 0, 0, width, height, True)

    def do_send_file(self, path):
        """Tells `file` when the guest has it, or not."""

        def done(main, result):
            try:
                main.file_copy_finish(result)
                tell("file", path=path, error=None)
            except GLib.Error as error:
                tell("file", path=path, error=error.message)

        self.main.file_copy_async([Gio.File.new_for_path(path)], 0, None, None, None, done)

    def watch_playback(self, channel):
        def data(_, address, size):
            self.heard += ctypes.string_at(address, size)

        def start(_, kind, channels, frequency):
            tell("playback-start", format=kind, channels=channels, frequency=frequency)

        def volume(*_):
            tell("playback-volume", mute=channel.props.mute)

        on(channel, "playback-start", start)
        on(channel, "playback-data", data)
        on(channel, "playback-stop", lambda _: tell("playback-stop", size=len(self.heard), crc=zlib.crc32(self.heard)))
        on(channel, "notify::mute", volume)

    def watch_record(self, channel):
        self.record = channel

        def start(_, kind, channels, frequency):
            tell("record-start", format=kind, channels=channels, frequency=frequency)

        on(channel, "record-start", start)
        on(channel, "record-stop", lambda _: tell("record-stop"))

    def do_say(self, data):
        """Samples for the guest, as if recorded."""
        samples = bytes.fromhex(data)
        buffer = ctypes.create_string_buffer(samples, len(samples))
        self.record.send_data(ctypes.addressof(buffer), len(samples), 0)

    def watch_port(self, channel, number):
        self.ports[number] = [channel, bytearray()]

        def data(_, address, size):
            got = self.ports[number][1]
            got.extend(ctypes.string_at(address, size))
            tell("port-data", id=number, size=len(got), crc=zlib.crc32(got))

        def opened(*_):
            tell("port-opened", id=number, name=channel.props.port_name, opened=channel.props.port_opened)

        on(channel, "port-data", data)
        on(channel, "port-event", lambda _, event: tell("port-event", id=number, what=event))
        on(channel, "notify::port-opened", opened)
        channel.connect()

    def do_port_write(self, id, data):
        def done(channel, result):
            tell("port-written", id=id, size=channel.write_finish(result))

        self.ports[id][0].write_async(bytes.fromhex(data), None, done)

    def do_port_event(self, id, event):
        self.ports[id][0].event(event)

    def channel_destroy(self, _, channel):
        name, number = NAMES.get(type(channel), type(channel).__name__), channel.props.channel_id
        if channel is self.inputs:
            self.inputs = None
        if name == "display":
            self.pictures.pop(number, None)
        tell("channel", type=name, id=number, what="destroyed")

    def channel_event(self, channel, event, name, number):
        error = channel.get_error()
        tell("channel", type=name, id=number, what=event.value_nick, reason=error.message if error else None)

    def migration_started(self, _, clone):
        if self.target_password is not None:
            clone.set_property("password", self.target_password)

    def do_password(self, target):
        """For the links of the next migrations."""
        self.target_password = target
        tell("password")

    def do_watch(self, region):
        self.region = region
        for picture in self.pictures.values():
            picture.region = region

    def do_key(self, scancode, down):
        """`scancode` as of the PC's first set, 0x100 and up for E0."""
        if self.inputs is not None:
            act = self.inputs.key_press if down else self.inputs.key_release
            act(scancode)

    def do_position(self, x, y, display=0, buttons=0):
        if self.inputs is not None:
            self.inputs.position(x, y, display, buttons)

    def do_picture(self, display=0, path=None):
        picture = self.pictures.get(display)
        if picture is None or not picture.address:
            tell("picture", display=display, width=0, height=0, crc=None)
            return
        rgb = picture.rgb()
        if path is not None:
            with open(path, "wb") as file:
                file.write(b"P6\n%d %d\n255\n" % (picture.width, picture.height) + rgb)
        tell("picture", display=display, width=picture.width, height=picture.height, crc=zlib.crc32(rgb))

    def do_state(self):
        session = self.session
        tell(
            "state",
            migration=session.props.migration_state.value_nick,
            host=session.props.host,
            port=session.props.port,
            tls_port=session.props.tls_port,
            channels=sorted(NAMES.get(type(c), type(c).__name__) for c in session.get_channels()),
        )

    def do_close(self):
        if self.session is not None:
            self.session.disconnect()
        self.loop.quit()


def main():
    loop = GLib.MainLoop()
    viewer = Viewer(loop)
    pending = bytearray()

    def hear(*_):
        data = os.read(0, 65536)
        if not data:
            viewer.do_close()
            return False
        pending.extend(data)
        while b"\n" in pending:
            line, _, rest = bytes(pending).partition(b"\n")
            pending[:] = rest
            command = json.loads(line)
            getattr(viewer, "do_" + command.pop("do"))(**command)
        return True

    GLib.unix_fd_add_full(GLib.PRIORITY_DEFAULT, 0, GLib.IOCondition.IN | GLib.IOCondition.HUP, hear)
    sys.excepthook = lambda kind, error, trace: tell("error", message=f"{kind.__name__}: {error}")
    tell("hello", version=".".join(map(str, gi.version_info)))
    loop.run()


if __name__ == "__main__":
    main()
