#!/usr/bin/python3
"""Our gRPC server as a foreign client (grpcio) sees it: test_echo.py SERVER PROTO_DIR. Exits 77 (skipped) without grpcio."""
import subprocess
import sys
import tempfile
import threading

try:
    import grpc
    from google.protobuf import descriptor_pb2
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

server_path, proto_dir = sys.argv[1:]


def generate(directory):
    """Messages of health and reflection, from our own .proto files."""
    files = ["grpc/health/v1/health.proto", "grpc/reflection/v1/reflection.proto", "grpc/reflection/v1alpha/reflection.proto"]
    subprocess.run(["protoc", "-I", proto_dir, "--descriptor_set_out", f"{directory}/set", *files], check=True)
    from google.protobuf import descriptor_pool, message_factory

    pool = descriptor_pool.DescriptorPool()
    with open(f"{directory}/set", "rb") as file:
        for proto in descriptor_pb2.FileDescriptorSet.FromString(file.read()).file:
            pool.Add(proto)
    factory = message_factory.MessageFactory(pool)
    return lambda name: factory.GetPrototype(pool.FindMessageTypeByName(name))


def fails_with(code, call, details=None):
    try:
        call()
    except grpc.RpcError as error:
        assert error.code() == code, error
        assert details is None or error.details() == details, error.details()
        return
    raise AssertionError(f"succeeded instead of {code}")


def check_unary(channel):
    unary = channel.unary_unary("/test.Echo/Unary")
    assert unary(b"hello") == b"hello"
    assert unary(b"") == b""
    large = b"x" * 65536
    assert unary(large) == large
    fails_with(grpc.StatusCode.RESOURCE_EXHAUSTED, lambda: unary(large + b"x"))
    fails_with(grpc.StatusCode.DEADLINE_EXCEEDED, lambda: unary(b"?", timeout=0.05))
    fails_with(grpc.StatusCode.NOT_FOUND, lambda: unary("!5 kein Grant „π“ 100%".encode()), "kein Grant „π“ 100%")
    fails_with(grpc.StatusCode.UNIMPLEMENTED, lambda: channel.unary_unary("/test.Echo/Nothing")(b""))
    fails_with(grpc.StatusCode.UNIMPLEMENTED, lambda: unary(b"x" * 1000, compression=grpc.Compression.Gzip))


def check_streams(channel):
    count = channel.unary_stream("/test.Echo/Count")
    assert [int(m) for m in count(b"10000")] == list(range(10000))
    chat = channel.stream_stream("/test.Echo/Chat")
    words = [b"%d" % i for i in range(1000)]
    assert list(chat(iter(words))) == words
    assert list(chat(iter([]))) == []
    stream = count(b"1000000")
    assert next(stream) == b"0"
    stream.cancel()
    fails_with(grpc.StatusCode.CANCELLED, lambda: list(stream))


def check_many(address):
    """1000 calls at once over a few connections, as the server admits 128 on each."""
    channels = [grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)]) for _ in range(4)]
    calls = [channels[i % 4].unary_unary("/test.Echo/Unary").future(b"%d" % i) for i in range(1000)]
    for i, call in enumerate(calls):
        assert call.result(timeout=60) == b"%d" % i
    for channel in channels:
        channel.close()


def check_sustained(channel):
    """A fast client must not be taken for a flood."""
    unary = channel.unary_unary("/test.Echo/Unary")

    def work():
        for _ in range(1500):
            assert unary(b"x" * 200) == b"x" * 200

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(1 for _ in channel.unary_stream("/test.Echo/Count")(b"300000")) == 300000


def check_health(channel, message, server):
    request, response = message("grpc.health.v1.HealthCheckRequest"), message("grpc.health.v1.HealthCheckResponse")
    check = channel.unary_unary("/grpc.health.v1.Health/Check", request.SerializeToString, response.FromString)
    watch = channel.unary_stream("/grpc.health.v1.Health/Watch", request.SerializeToString, response.FromString)
    assert check(request()).status == 1
    assert check(request(service="lapse.v1.Grants")).status == 1
    fails_with(grpc.StatusCode.NOT_FOUND, lambda: check(request(service="other")))
    changes = watch(request())
    assert next(changes).status == 1
    server.stdin.write(b"toggle\n")
    server.stdin.flush()
    assert next(changes).status == 2
    changes.cancel()


def check_reflection(channel, message, version):
    package = f"grpc.reflection.{version}"
    request, response = message(f"{package}.ServerReflectionRequest"), message(f"{package}.ServerReflectionResponse")
    ask = channel.stream_stream(f"/{package}.ServerReflection/ServerReflectionInfo", request.SerializeToString, response.FromString)
    questions = [
        request(list_services=""),
        request(file_containing_symbol="lapse.v1.Grants"),
        request(file_by_filename="lapse/v1/grant.proto"),
        request(file_containing_symbol="lapse.v1.Nothing"),
    ]
    services, symbol, file, nothing = ask(iter(questions))
    names = [service.name for service in services.list_services_response.service]
    assert "lapse.v1.Grants" in names and f"{package}.ServerReflection" in names, names
    files = [descriptor_pb2.FileDescriptorProto.FromString(b) for b in symbol.file_descriptor_response.file_descriptor_proto]
    assert [f.name for f in files] == ["lapse/v1/grants.proto", "lapse/v1/grant.proto", "lapse/v1/objects.proto"]
    assert any(m.name == "Watch" and m.server_streaming for m in files[0].service[0].method)
    assert len(file.file_descriptor_response.file_descriptor_proto) == 2
    assert nothing.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]


def main():
    server = subprocess.Popen([server_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    address = f"127.0.0.1:{int(server.stdout.readline())}"
    with tempfile.TemporaryDirectory() as directory, grpc.insecure_channel(address) as channel:
        message = generate(directory)
        check_unary(channel)
        check_streams(channel)
        check_many(address)
        check_sustained(channel)
        check_health(channel, message, server)
        check_reflection(channel, message, "v1")
        check_reflection(channel, message, "v1alpha")
    server.stdin.close()
    assert server.wait() == 0, "the server ended badly"
    print("ok")


main()
