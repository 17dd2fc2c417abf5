require "digest"
require "json"
require "rack"

NUMBERS = (0...1024 * 1024).map { |i| i * 7 % 256 }.pack("C*")

# Pieces that are made while they are sent.
class Lines
  def each
    (1..5).each do |number|
      sleep 0.1 if number > 1
      yield "line #{number}\n"
    end
  end
end

def text(content, status = 200)
  [status, { "Content-Type" => "text/plain; charset=utf-8" }, [content]]
end

def json(value)
  [200, { "Content-Type" => "application/json" }, [value.to_json]]
end

def upload(params)
  file = params["file"]
  content = file[:tempfile].read
  json(
    name: file[:filename].dup.force_encoding("utf-8"),
    size: content.bytesize,
    sha256: Digest::SHA256.hexdigest(content),
    note: params["note"]
  )
end

def about(request)
  json(
    scheme: request.scheme,
    host: request.host,
    client: request.ip,
    path: request.path,
    query: request.query_string,
    userAgent: request.user_agent
  )
end

def visits(request)
  request.session["visits"] = (request.session["visits"] || 0) + 1
  text(request.session["visits"].to_s)
end

def cookies
  response = Rack::Response.new(["two cookies"], 200, { "Content-Type" => "text/plain" })
  response.set_cookie("a", "1")
  response.set_cookie("b", "2")
  response.finish
end

app = lambda do |env|
  request = Rack::Request.new(env)
  path = Rack::Utils.unescape_path(request.path_info)
  case [request.request_method, path]
  in ["GET" | "HEAD", "/"]
    [200, { "Content-Type" => "text/html" }, ["<!doctype html><title>Hello</title><h1>Hello</h1>"]]
  in ["GET", "/greet"] then text("Hello #{request.GET["name"]}")
  in ["GET", %r{\A/path/([^/]+)/x\z}] then text(path.split("/")[2])
  in ["POST", "/form"]
    query = Rack::Utils.build_query(request.POST.slice("name", "colour"))
    [303, { "Location" => "/form?#{query}" }, []]
  in ["GET", "/form"] then text("#{request.GET["name"]} likes #{request.GET["colour"]}")
  in ["POST", "/upload"] then upload(request.POST)
  in ["POST", "/echo"] then [200, { "Content-Type" => request.content_type }, [request.body.read]]
  in ["PUT" | "DELETE" | "PATCH", "/method"] then text(request.request_method)
  in ["GET", "/download"]
    [200, {
      "Content-Type" => "application/octet-stream",
      "Content-Disposition" => 'attachment; filename="numbers.bin"',
      "Content-Length" => NUMBERS.bytesize.to_s
    }, [NUMBERS]]
  in ["GET", "/stream"] then [200, { "Content-Type" => "text/plain" }, Lines.new]
  in ["GET", "/events"]
    events = (1..3).lazy.map { |number| "id: #{number}\ndata: event #{number}\n\n" }
    [200, { "Content-Type" => "text/event-stream" }, events]
  in ["GET", "/cookie"] then cookies
  in ["GET", "/session"] then visits(request)
  in ["GET", "/about"] then about(request)
  in ["GET", "/error"] then raise "a mistake made on purpose"
  in ["GET", "/who"] then text(Process.pid.to_s)
  in ["GET" | "HEAD", _] then text("there is no such page", 404)
  else text("not like this", 405)
  end
end

use Rack::Session::Cookie, secret: "not a secret " * 6
run app
