require "digest"
require "json"
require "sinatra/base"

class App < Sinatra::Base
  NUMBERS = (0...1024 * 1024).map { |i| i * 7 % 256 }.pack("C*")

  enable :sessions
  set :session_secret, "not a secret " * 6
  set :protection, session: false
  set :show_exceptions, false
  set :host_authorization, { permitted_hosts: [] }

  helpers do
    def text(content)
      content_type "text/plain", charset: "utf-8"
      content
    end
  end

  get "/" do
    "<!doctype html><title>Hello</title><h1>Hello</h1>"
  end

  get "/greet" do
    text "Hello #{params[:name]}"
  end

  get "/path/:name/x" do
    text params[:name]
  end

  post "/form" do
    redirect "/form?#{Rack::Utils.build_query(params.slice("name", "colour"))}", 303
  end

  get "/form" do
    text "#{params[:name]} likes #{params[:colour]}"
  end

  post "/upload" do
    file = params[:file]
    content = file[:tempfile].read
    content_type :json
    {
      name: file[:filename],
      size: content.bytesize,
      sha256: Digest::SHA256.hexdigest(content),
      note: params[:note]
    }.to_json
  end

  post "/echo" do
    content_type request.content_type
    request.body.read
  end

  %w[put delete patch].each do |verb|
    send(verb, "/method") { text request.request_method }
  end

  get "/download" do
    content_type "application/octet-stream"
    attachment "numbers.bin"
    NUMBERS
  end

  get "/stream" do
    text ""
    stream do |out|
      (1..5).each do |number|
        sleep 0.1 if number > 1
        out << "line #{number}\n"
      end
    end
  end

  get "/events" do
    content_type "text/event-stream"
    stream do |out|
      (1..3).each { |number| out << "id: #{number}\ndata: event #{number}\n\n" }
    end
  end

  get "/cookie" do
    response.set_cookie("a", value: "1", path: "/")
    response.set_cookie("b", value: "2", path: "/")
    text "two cookies"
  end

  get "/session" do
    session[:visits] = (session[:visits] || 0) + 1
    text session[:visits].to_s
  end

  get "/about" do
    content_type :json
    {
      scheme: request.scheme,
      host: request.host,
      client: request.ip,
      path: request.path,
      query: request.query_string,
      userAgent: request.user_agent
    }.to_json
  end

  get "/error" do
    raise "a mistake made on purpose"
  end

  get "/who" do
    text Process.pid.to_s
  end
end
