# Writes down every execution of a request by its number, and answers with what it received: the app
# of `ledger.py` in the words of Rack. Its release is what the file `release` says when it starts.

require "json"
require "rack"
require "zlib"

NAME = ENV.fetch("RIP_APP_ID")
WORKER = ENV.fetch("RIP_WORKER_ID")
BOOK = File.join(ENV.fetch("RECORD"), "executed-w#{WORKER}")
RELEASE_FILE = File.join(__dir__, "release")
RELEASE = File.exist?(RELEASE_FILE) ? File.read(RELEASE_FILE).strip : "1"

def write_down(*words)
  File.open(BOOK, File::WRONLY | File::CREAT | File::APPEND, 0o600) do |book|
    book.syswrite("#{words.join(" ")}\n")
  end
end

# The events of one request.
class Events
  def initialize(number, pieces, gap)
    @number, @pieces, @gap = number, pieces, gap
  end

  def each
    @pieces.times do |index|
      yield "data: #{@number} #{index}\n\n"
      sleep @gap
    end
    yield "data: #{@number} end #{WORKER} #{NAME} #{RELEASE}\n\n"
  end
end

run(lambda do |env|
  request = Rack::Request.new(env)
  next [200, { "Content-Type" => "text/plain" }, ["ready"]] if request.path_info == "/ready"

  number = Integer(request.path_info.split("/").last)
  asked = request.GET
  body = request.body ? request.body.read : ""
  checksum = Zlib.adler32(body)
  micros = Process.clock_gettime(Process::CLOCK_REALTIME, :microsecond)
  write_down(number, request.request_method, body.bytesize, checksum, WORKER, Process.pid, micros, NAME)
  if asked["pieces"]
    events = Events.new(number, Integer(asked["pieces"]), Float(asked["gap"]))
    next [200, { "Content-Type" => "text/event-stream" }, events]
  end
  sleep Float(asked["ms"] || 0) / 1000
  answer = {
    number: number,
    method: request.request_method,
    bytes: body.bytesize,
    checksum: checksum,
    worker: Integer(WORKER),
    app: NAME,
    release: RELEASE
  }
  [200, { "Content-Type" => "application/json" }, [answer.to_json]]
end)
