"""A generic client: knows no .proto of Lapse, only grpc.reflection.v1, whose few fields are written out below.

Field numbers: https://github.com/grpc/grpc-proto/blob/master/grpc/reflection/v1/reflection.proto
"""

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_PATH = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"


def _field(number, text):
    data = text.encode()
    return bytes([number << 3 | 2]) + _varint(len(data)) + data


def _varint(value):
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def _fields(data):
    """(number, bytes) of the length-delimited fields; others are skipped."""
    at = 0

    def varint():
        nonlocal at
        value, shift = 0, 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        tag = varint()
        if tag & 7 == 0:
            varint()
            continue
        length = varint()
        yield tag >> 3, data[at : at + length]
        at += length


def _ask(channel, request):
    stream = channel.stream_stream(_PATH)
    answers = list(stream(iter([request]), timeout=60))
    assert len(answers) == 1
    return dict(_fields(answers[0]))


def list_services(channel):
    answer = _ask(channel, _field(7, "*"))
    return [dict(_fields(service))[1].decode() for number, service in _fields(answer[6]) if number == 1]


class Api:
    """The methods of one service, with messages built from what the server says of itself."""

    def __init__(self, channel, service):
        self.channel = channel
        answer = _ask(channel, _field(4, service))
        pool = descriptor_pool.DescriptorPool()
        files = {}
        for number, data in _fields(answer[4]):
            if number == 1:
                file = descriptor_pb2.FileDescriptorProto.FromString(data)
                files[file.name] = file
        added = set()

        def add(name):
            if name in added:
                return
            added.add(name)
            for dependency in files[name].dependency:
                add(dependency)
            pool.Add(files[name])

        for name in files:
            add(name)
        self.service = pool.FindServiceByName(service)
        self.factory = message_factory.MessageFactory(pool)

    def call(self, name, fields):
        method = self.service.methods_by_name[name]
        request = self.factory.GetPrototype(method.input_type)(**fields)
        answer = self.factory.GetPrototype(method.output_type)
        call = self.channel.unary_unary(f"/{self.service.full_name}/{name}",
                                        request_serializer=lambda m: m.SerializeToString(),
                                        response_deserializer=answer.FromString)
        return call(request, timeout=60)
