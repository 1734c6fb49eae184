// gRPC's interoperability cases with @grpc/grpc-js as the client: node interop.js HOST:PORT
//
// Prints a line of JSON for each case: its name, and what went wrong or null. Messages are those of
// tests/support/programs/grpc_interop.py: a JSON object, a NUL and a payload.
"use strict";

const assert = require("node:assert/strict");
const grpc = require("@grpc/grpc-js");

const encode = ([meta, payload]) => Buffer.concat([Buffer.from(JSON.stringify(meta)), Buffer.from([0]), payload]);
const decode = (data) => {
  const end = data.indexOf(0);
  return [JSON.parse(data.subarray(0, end).toString()), data.subarray(end + 1)];
};

const method = (path, requestStream, responseStream) => ({
  path, requestStream, responseStream,
  requestSerialize: encode, requestDeserialize: decode, responseSerialize: encode, responseDeserialize: decode,
});
const service = (name, request, response) => method(`/interop.TestService/${name}`, request, response);
const Client = grpc.makeGenericClientConstructor({
  empty: service("EmptyCall", false, false),
  unary: service("UnaryCall", false, false),
  seen: service("Seen", false, false),
  upload: service("StreamingInputCall", true, false),
  download: service("StreamingOutputCall", false, true),
  duplex: service("FullDuplexCall", true, true),
  missing: service("UnimplementedCall", false, false),
  nobody: method("/interop.UnimplementedService/UnimplementedCall", false, false),
}, "interop.TestService");

const client = new Client(process.argv[2], grpc.credentials.createInsecure());
const EMPTY = [{}, Buffer.alloc(0)];
const SIZES = [31415, 9, 2653, 58979];
const UPLOADS = [27182, 8, 1828, 45904];
const PATIENCE = 10000;

function unary(name, request, metadata = new grpc.Metadata(), options = {}) {
  const seen = {};
  const call = new Promise((resolve, reject) => {
    const made = client[name](request, metadata, options, (error, value) => (error ? reject(error) : resolve(value)));
    made.on("metadata", (initial) => { seen.initial = initial; });
    made.on("status", (status) => { seen.trailing = status.metadata; });
  });
  return call.then((value) => ({ value, ...seen }));
}

// Everything that a call receives: messages, and in the end its status.
function gathered(call, onMessage = () => {}) {
  return new Promise((resolve) => {
    const got = { messages: [], initial: null, status: null };
    call.on("metadata", (initial) => { got.initial = initial; });
    call.on("data", (message) => { got.messages.push(message); onMessage(message, got); });
    call.on("error", () => {});
    call.on("status", (status) => { got.status = status; resolve(got); });
  });
}

const failure = async (promise) => {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error("the call succeeded");
};

async function until(probe, what) {
  const deadline = Date.now() + PATIENCE;
  while (!(await probe())) {
    assert.ok(Date.now() < deadline, `not in time: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

const seen = async () => (await unary("seen", EMPTY)).value[0];

const MESSAGE = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n 100 %";
const INITIAL = "x-grpc-test-echo-initial";
const TRAILING = "x-grpc-test-echo-trailing-bin";
const BYTES = Buffer.from([0xab, 0xab, 0xab, 0, 10]);
const metadata = () => {
  const made = new grpc.Metadata();
  made.set(INITIAL, "test_initial_metadata_value");
  made.set(TRAILING, BYTES);
  return made;
};
const checkEchoed = (initial, trailing) => {
  assert.deepEqual(initial.get(INITIAL), ["test_initial_metadata_value"]);
  assert.deepEqual(trailing.get(TRAILING), [BYTES]);
};

const cases = {
  async empty_unary() {
    assert.deepEqual((await unary("empty", EMPTY)).value[0], {});
  },
  async large_unary() {
    const { value: [meta, payload] } = await unary("unary", [{ response_size: 314159 }, Buffer.alloc(271828)]);
    assert.deepEqual([meta.got, payload.length], [271828, 314159]);
  },
  async client_streaming() {
    const answer = await new Promise((resolve, reject) => {
      const call = client.upload((error, value) => (error ? reject(error) : resolve(value)));
      for (const size of UPLOADS) call.write([{}, Buffer.alloc(size)]);
      call.end();
    });
    assert.equal(answer[0].aggregated_payload_size, UPLOADS.reduce((a, b) => a + b));
  },
  async server_streaming() {
    const got = await gathered(client.download([{ sizes: SIZES }, Buffer.alloc(0)]));
    assert.deepEqual(got.messages.map(([, payload]) => payload.length), SIZES);
    assert.equal(got.status.code, grpc.status.OK);
  },
  async ping_pong() {
    const call = client.duplex();
    const send = (i) => call.write([{ sizes: [SIZES[i]] }, Buffer.alloc(UPLOADS[i])]);
    const done = gathered(call, (_, got) => (got.messages.length < 4 ? send(got.messages.length) : call.end()));
    send(0);
    const got = await done;
    assert.deepEqual(got.messages.map(([meta, payload]) => [meta.got, payload.length]), SIZES.map((s, i) => [UPLOADS[i], s]));
    assert.equal(got.status.code, grpc.status.OK);
  },
  async empty_stream() {
    const call = client.duplex();
    call.end();
    const got = await gathered(call);
    assert.deepEqual([got.messages.length, got.status.code], [0, grpc.status.OK]);
  },
  async cancel_after_begin() {
    const before = await seen();
    let call;
    const failed = failure(new Promise((resolve, reject) => {
      call = client.upload((error, value) => (error ? reject(error) : resolve(value)));
    }));
    await until(async () => (await seen()).started > before.started, "the call has begun");
    call.cancel();
    assert.equal((await failed).code, grpc.status.CANCELLED);
    await until(async () => (await seen()).ended > before.ended, "the server has heard of it");
  },
  async cancel_after_first_response() {
    const before = await seen();
    const call = client.duplex();
    call.write([{ sizes: [31415] }, Buffer.alloc(27182)]);
    const got = await gathered(call, () => call.cancel());
    assert.equal(got.status.code, grpc.status.CANCELLED);
    await until(async () => (await seen()).ended > before.ended, "the server has heard of it");
  },
  async timeout_on_sleeping_server() {
    const before = await seen();
    const call = client.duplex({ deadline: Date.now() + 200 });
    call.write([{ sleep: 30 }, Buffer.alloc(27182)]);
    assert.equal((await gathered(call)).status.code, grpc.status.DEADLINE_EXCEEDED);
    await until(async () => (await seen()).ended > before.ended, "the server has heard of it");
  },
  async status_code_and_message() {
    const asked = [{ status: [2, "test status message"] }, Buffer.alloc(0)];
    const error = await failure(unary("unary", asked));
    assert.deepEqual([error.code, error.details], [grpc.status.UNKNOWN, "test status message"]);
    const call = client.duplex();
    call.write(asked);
    call.end();
    const { status } = await gathered(call);
    assert.deepEqual([status.code, status.details], [grpc.status.UNKNOWN, "test status message"]);
  },
  async special_status_message() {
    const error = await failure(unary("unary", [{ status: [2, MESSAGE] }, Buffer.alloc(0)]));
    assert.deepEqual([error.code, error.details], [grpc.status.UNKNOWN, MESSAGE]);
  },
  async unimplemented_method() {
    assert.equal((await failure(unary("missing", EMPTY))).code, grpc.status.UNIMPLEMENTED);
  },
  async unimplemented_service() {
    assert.equal((await failure(unary("nobody", EMPTY))).code, grpc.status.UNIMPLEMENTED);
  },
  async custom_metadata() {
    const large = [{ response_size: 314159 }, Buffer.alloc(271828)];
    const { value, initial, trailing } = await unary("unary", large, metadata());
    assert.equal(value[1].length, 314159);
    checkEchoed(initial, trailing);
    const call = client.duplex(metadata());
    call.write([{ sizes: [314159] }, Buffer.alloc(271828)]);
    call.end();
    const got = await gathered(call);
    assert.equal(got.messages.length, 1);
    checkEchoed(got.initial, got.status.metadata);
  },
  async container_that_cannot_start() {
    const dies = new grpc.Metadata();
    dies.set("x-case", "dies");
    const error = await failure(unary("empty", EMPTY, dies));
    assert.deepEqual([error.code, error.details], [grpc.status.UNAVAILABLE, "The container failed to start."]);
  },
  async deadline_while_the_container_starts() {
    const never = new grpc.Metadata();
    never.set("x-case", "never-listens");
    const error = await failure(unary("empty", EMPTY, never, { deadline: Date.now() + 300 }));
    assert.equal(error.code, grpc.status.DEADLINE_EXCEEDED);
  },
};

(async () => {
  for (const [name, run] of Object.entries(cases)) {
    let problem = null;
    try {
      await run();
    } catch (error) {
      problem = String(error.stack || error);
    }
    console.log(JSON.stringify({ case: name, problem }));
  }
  client.close();
})();
