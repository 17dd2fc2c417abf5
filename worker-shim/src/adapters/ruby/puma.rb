# Serves a Rack app on the worker's socket: puma in this very process, one process, as many threads as
# requests may be on their way. What config/puma.rb says of sockets, processes and threads is not heard.
#
# Arguments: the app's config.ru, and the number of threads.

module RipMaster
  STATUS = IO.for_fd(Integer(ENV.fetch("RIP_STATUS_FD")), "w")
  STATUS.sync = true

  # Ends a start that cannot succeed, with a sentence for the operator.
  def self.refuse(sentence)
    STATUS.syswrite("MISSING=#{sentence.gsub(/\s+/, " ").strip}\n")
    exit!(1)
  end

  # The gems of the app's Gemfile, as `bundle exec` has them.
  def self.bundle(gemfile)
    ENV["BUNDLE_GEMFILE"] = gemfile
    begin
      require "bundler"
    rescue LoadError
      refuse("#{gemfile} needs bundler, which is not installed; install it with `gem install bundler`")
    end
    begin
      Bundler.setup
    rescue Bundler::GemNotFound, Bundler::GitError => error
      refuse("#{error.message.lines.first.to_s.strip.chomp(".")}; run `bundle install` in #{File.dirname(gemfile)}")
    rescue Bundler::BundlerError => error
      refuse("#{gemfile}: #{error.message}")
    end
  end

  def self.require_puma(gemfile)
    require "puma"
    require "puma/cli"
  rescue LoadError
    refuse("puma is not in #{gemfile}; add it with `bundle add puma`") if gemfile
    refuse("puma is not installed; install it with `gem install puma`, or the like")
  end

  # The app, told the client's address as the edge tells it: the other end of the socket is the edge.
  module App
    def app
      rack = super
      lambda do |env|
        client = env["HTTP_RIP_CLIENT"] || env["HTTP_X_FORWARDED_FOR"]
        env["REMOTE_ADDR"] = client[/[^,\s]+/] || "127.0.0.1" if client
        rack.call(env)
      end
    end
  end

  # A restart in place would lose the socket: the worker is replaced, which is the same and better.
  module Launcher
    def restart
      STATUS.syswrite("STOPPING=1\n")
    end
  end

  def self.serve(rackup, threads)
    Puma::DSL.method_defined?(:bind_to_activated_sockets) or
      refuse("puma #{Puma::Const::VERSION} is too old to be given a socket; update it")
    # A thread that waits so long for the next request of one connection cannot serve another's.
    Puma::Client.const_set(:FAST_TRACK_KA_TIMEOUT, 0.001)
    Puma::Configuration.prepend(App)
    Puma::Launcher.prepend(Launcher)
    Puma::CLI.new([
      "--silent", "--workers", "0", "--threads", "#{threads}:#{threads}",
      "--bind-to-activated-sockets", "only", rackup
    ]).run
  end

  def self.main(rackup, threads)
    Dir.chdir(File.dirname(rackup))
    gemfile = ENV["BUNDLE_GEMFILE"] || File.expand_path("Gemfile")
    gemfile = nil unless File.file?(gemfile)
    bundle(gemfile) if gemfile
    require_puma(gemfile)
    begin
      serve(rackup, threads)
    rescue LoadError => error
      raise if error.path.nil? || error.path.start_with?("/", ".")
      gem = error.path.split("/").first
      how = gemfile ? "add it with `bundle add #{gem}`" : "install it with `gem install #{gem}`"
      refuse("#{error.message}; if it is of a gem that is missing, #{how}")
    end
  end
end

RipMaster.main(*ARGV)
