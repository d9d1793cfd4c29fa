"""Pickles written by hand, instruction by instruction, and the harm that they can mean."""

import io
import pickle
import struct
import zipfile


def text(value):
    raw = value.encode() if isinstance(value, str) else value
    return b"X" + struct.pack("<I", len(raw)) + raw


def raw(value):
    return b"B" + struct.pack("<I", len(value)) + value


def number(value):
    return b"J" + struct.pack("<i", value)


def named(module, name):
    return text(module) + text(name) + b"\x93"


def group(*parts):
    return b"(" + b"".join(parts) + b"t"


def call(module, name, *parts):
    return named(module, name) + group(*parts) + b"R"


def table(**items):
    return b"}(" + b"".join(text(k) + v for k, v in items.items()) + b"u"


def whole(*parts):
    return b"\x80\x04" + b"".join(parts) + b"."


def stored(data=bytes(16), *, count=None, kind="FloatStorage", **changed):
    """Return the bytes of a storage in torch's older layout, or of one that lies."""
    count = len(data) // 4 if count is None else count
    wide = b"\x8a\x08" + struct.pack("<q", count)
    key = group(
        text("storage"),
        named("torch", kind),
        text("0"),
        text("cpu"),
        wide,
        changed.get("view", b"N"),
    )
    return b"".join((
        b"\x80\x02\x8a\x0a"
        + changed.get("magic", 0x1950A86A20F9469CFC6C).to_bytes(10, "little")
        + b".",
        whole(b"M\xe9\x03"),
        whole(table(little_endian=changed.get("little", b"\x88"))),
        whole(changed.get("object", key + b"Q")),
        whole(b"](" + changed.get("labels", text("0")) + b"e"),
        struct.pack("<q", changed.get("announced", count)),
        data,
    ))


def tensor(storage=None, offset=0, size=(4,), stride=(1,), hooks=b"}"):
    return call(
        "torch._utils",
        "_rebuild_tensor_v2",
        call(
            "torch.storage", "_load_from_bytes", raw(stored() if storage is None else storage)
        ),
        number(offset) if isinstance(offset, int) else offset,
        group(*map(number, size)),
        group(*map(number, stride)),
        b"\x89",
        hooks,
    )


def module(class_name="Generator", version=6, **state):
    meta = table(
        type=text("class"),
        version=number(version),
        module_src=text("1/0"),
        class_name=text(class_name),
        state=table(**state),
    )
    return call("torch_utils.persistence", "_reconstruct_persistent_obj", meta)


def dtype(letters="f4", state=None):
    made = call("numpy", "dtype", text(letters), b"\x89", b"\x88")
    plain = group(number(3), text("<"), b"N", b"N", b"N", number(-1), number(-1), number(0))
    return made + (plain if state is None else state) + b"b"


def array(shape=(2,), kind=None, data=bytes(8)):
    made = call(
        "numpy.core.multiarray",
        "_reconstruct",
        named("numpy", "ndarray"),
        group(number(0)),
        raw(b"b"),
    )
    state = group(number(1), group(*map(number, shape)), kind or dtype(), b"\x89", raw(data))
    return made + state + b"b"


def zipped():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("archive/data.pkl", pickle.dumps([1]))
    return buffer.getvalue()


ATTACKS = {
    # Names
    "os.system": (call("os", "system", text("true")), "'os.system' is refused"),
    "posix.system": (
        b"cposix\nsystem\n" + group(text("true")) + b"R",
        "'posix.system' is refused",
    ),
    "eval": (call("builtins", "eval", text("1/0")), "'builtins.eval' is refused"),
    "getattr": (named("builtins", "getattr"), "'builtins.getattr' is refused"),
    "dotted": (
        named("torch._utils", "_rebuild_tensor_v2.__globals__"),
        "__globals__' is refused",
    ),
    "moved dot": (named("numpy", "core.multiarray.scalar.x"), "is refused"),
    "torch.load": (named("torch", "load"), "'torch.load' is refused"),
    "set's class": (
        named("builtins", "set") + b"}b",
        "a state is given to the name builtins.set",
    ),
    "long name": (b"c" + b"a" * 300 + b"\nb\n", "within 256 bytes"),
    "name of a number": (number(1) + text("a") + b"\x93", "two texts"),
    "call a number": (number(1) + b")R", "only a name can be called"),
    "call with a list": (named("builtins", "set") + b"]R", "only a name"),
    "call a class": (call("numpy", "ndarray", number(1 << 30)), "may be named, but not called"),
    # Instructions
    "INST": (b"(ios\nsystem\n", "0x69 is refused"),
    "OBJ": (b"(" + named("builtins", "set") + b"o", "0x6f is refused"),
    "EXT1": (b"\x82\x01", "0x82 is refused"),
    "NEWOBJ_EX": (named("builtins", "set") + b")}\x92", "0x92 is refused"),
    "PERSID": (b"Pa\n", "0x50 is refused"),
    "BINPERSID": (text("a") + b"Q", "no persistent object"),
    "BYTEARRAY8": (b"\x96" + struct.pack("<Q", 1 << 60), "0x96 is refused"),
    "NEXT_BUFFER": (b"\x97", "0x97 is refused"),
    "LONG4": (b"\x8b" + struct.pack("<i", 1 << 30), "0x8b is refused"),
    "protocol 0": (b"I1\n", "0x49 is refused"),
    "protocol 9": (b"\x80\x09", "protocol must be 2 to 5"),
    # Lengths
    "bytes of an exabyte": (b"\x8e" + struct.pack("<Q", 1 << 60), "cut short"),
    "text of an exabyte": (b"\x8d" + struct.pack("<Q", 1 << 60), "too long"),
    "long text": (text(b"a" * (5 << 20)), "too long"),
    "frame of an exabyte": (b"\x95" + struct.pack("<Q", 1 << 60), "cut short"),
    "integer of 255 bytes": (b"\x8a\xff" + b"\xff" * 255, "too long"),
    "not UTF-8": (text(b"\xff\xfe"), "not UTF-8"),
    # Stack and memo
    "empty": (b"", "must end with one value"),
    "two values": (b"NN", "must end with one value"),
    "open mark": (b"N(", "must end with one value"),
    "take nothing": (b"0", "refused"),
    "below a mark": (b"N(\x85", "not there"),
    "no mark": (b"Nt", "mark is taken"),
    "recall nothing": (b"h\x07", "none was remembered"),
    "remember nothing": (b"\x94", "not there"),
    "marks": (b"(" * 20_000, "marks are open"),
    "append to a tuple": (b")Na", "no list"),
    "add to a list": (b"](" + text("a") + b"\x90", "no set"),
    "item of a list": (b"]NNs", "put in a list"),
    "odd items": (b"}(" + text("a") + b"u", "put in a dict"),
    "key of a number": (b"}" + number(1) + b"Ns", "must be texts"),
    "key of a list": (b"}]Ns", "must be texts"),
    "member of a number": (b"\x8f(" + number(1) + b"\x90", "must be texts"),
    "set of numbers": (call("builtins", "set", b"](" + number(1) + b"e"), "must be texts"),
    "dict of a dict": (call("collections", "OrderedDict", b"}"), "made empty"),
    "state of a list": (b"]}b", "takes none"),
    "steps": (b"N" * 1_100_000, "fewer instructions"),
    # Tensors
    "larger than storage": (tensor(size=(5,)), "inside the storage"),
    "strides outside": (tensor(size=(2, 2), stride=(3, 1)), "inside the storage"),
    "offset outside": (tensor(offset=1), "inside the storage"),
    "offset before": (tensor(offset=-1), "offset must be of whole numbers"),
    "offset of a float": (tensor(offset=b"G" + struct.pack(">d", 0.5)), "offset must be"),
    "offset true": (tensor(offset=b"\x88"), "offset must be of whole numbers"),
    "backward": (tensor(offset=3, stride=(-1,)), "stride must be"),
    "expanded": (tensor(size=(1 << 20, 1 << 20), stride=(0, 0)), "inside the storage"),
    "expanded a little": (tensor(size=(5, 1), stride=(0, 0)), "inside the storage"),
    "huge": (tensor(size=(2**31 - 1,) * 8, stride=(2**31 - 1,) * 8), "inside the storage"),
    "nothing, hugely": (tensor(size=(0, 2**31 - 1), stride=(1, 1)), "holds nothing"),
    "many axes": (tensor(size=(1,) * 9, stride=(1,) * 9), "at most 8"),
    "axes apart": (tensor(size=(2, 2), stride=(1,)), "equally long"),
    "hooks": (tensor(hooks=table(a=b"N")), "no hooks"),
    "no storage": (call("torch._utils", "_rebuild_tensor_v2", b"N"), "must have a storage"),
    "no parameter": (
        call("torch._utils", "_rebuild_parameter", b"N", b"\x88", b"}"),
        "a tensor",
    ),
    # Storages, which are pickles inside the pickle
    "longer than it is": (tensor(stored(count=1 << 40)), "announces"),
    "another length": (tensor(stored(announced=1 << 40)), "announces"),
    "length below nothing": (tensor(stored(count=-4)), "announces"),
    "a byte short": (tensor(stored(bytes(15), count=4)), "has 15 bytes"),
    "complex": (tensor(stored(kind="ComplexFloatStorage")), "ComplexFloatStorage' is refused"),
    "quantised": (tensor(stored(kind="QInt8Storage")), "QInt8Storage' is refused"),
    "objects": (tensor(stored(kind="UntypedStorage")), "UntypedStorage' is refused"),
    "another magic": (tensor(stored(magic=1)), "older layout"),
    "big-endian": (tensor(stored(little=b"\x89")), "little-endian"),
    "a view": (tensor(stored(view=group(number(1)))), "description of a storage"),
    "another label": (tensor(stored(labels=text("1"))), "missing"),
    "two labels": (tensor(stored(labels=text("0") * 2)), "missing"),
    "no storage in it": (tensor(stored(object=b"N")), "older layout"),
    "os.system in it": (
        tensor(stored(object=call("os", "system", text("true")))),
        "os.system' is",
    ),
    "outer name in it": (
        tensor(stored(object=call("torch.storage", "_load_from_bytes", raw(stored())))),
        "_load_from_bytes' is refused",
    ),
    "zip": (tensor(zipped()), "0x50 is refused"),
    "nothing in it": (tensor(b""), "cut short"),
    "number for bytes": (
        call("torch.storage", "_load_from_bytes", number(1)),
        "must have bytes",
    ),
    # numpy
    "object dtype": (dtype("O8"), "plain numbers"),
    "text dtype": (dtype("U1000000000"), "plain numbers"),
    "record dtype": (dtype("V8"), "plain numbers"),
    "fields": (dtype(state=group(number(3), text("<"), b"N", group(text("a")), b"}")), "plain"),
    "order of a list": (dtype(state=group(number(3), b"]", b"N", b"N", b"N")), "plain numbers"),
    "array too short": (array((3,)), "has 8 bytes"),
    "array of nothing, hugely": (array((0, 2**31 - 1), data=b""), "holds nothing"),
    "array of objects": (array(kind=number(1)), "shape, dtype"),
    "number too short": (
        call("numpy.core.multiarray", "scalar", dtype(), raw(b"a")),
        "has 1 bytes",
    ),
    # Modules
    "another version": (module(version=5), "in version 6"),
    # Arrays where a number or a text is compared: their == is no answer
    "array for a type": (
        call(
            "torch_utils.persistence",
            "_reconstruct_persistent_obj",
            table(type=tensor(), version=tensor(), class_name=text("a"), state=b"}"),
        ),
        "version 6",
    ),
    "array for an order": (
        dtype(state=group(number(3), tensor(), b"N", b"N", b"N")),
        "plain numbers",
    ),
    "array for a version": (
        dtype(state=group(tensor(), text("<"), b"N", b"N", b"N")),
        "plain numbers",
    ),
    "array for letters": (call("numpy", "dtype", tensor()), "plain numbers"),
    "array for a size": (
        call("numpy._core.multiarray", "_reconstruct", tensor(), tensor(), tensor()),
        "must make a numpy.ndarray",
    ),
    "array for a name": (tensor() + tensor() + b"\x93", "two texts"),
    "array for a key": (b"}" + tensor() + b"Ns", "must be texts"),
    "no state": (
        call("torch_utils.persistence", "_reconstruct_persistent_obj", b"}"),
        "version 6",
    ),
}
