<?php
// Writes down every execution of a request by its number, and answers with what it received; see
// ../../ledger.py. A script is read anew for each request, so that its release is that of its worker.

$name = getenv('RIP_APP_ID');
$worker = getenv('RIP_WORKER_ID');
$path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
if ($path === '/ready') {
    header('Content-Type: text/plain');
    echo 'ready';
    exit;
}

$number = basename($path);
$body = file_get_contents('php://input');
$checksum = hexdec(hash('adler32', $body));
$method = $_SERVER['REQUEST_METHOD'];
$micros = (int) (microtime(true) * 1000000);
$line = [$number, $method, strlen($body), $checksum, $worker, getmypid(), $micros, $name];
file_put_contents(getenv('RECORD') . "/executed-w$worker", implode(' ', $line) . "\n", FILE_APPEND);
$release = is_file(__DIR__ . '/release') ? trim(file_get_contents(__DIR__ . '/release')) : '1';

if (isset($_GET['pieces'])) {
    header('Content-Type: text/event-stream');
    ob_end_flush();
    for ($index = 0; $index < $_GET['pieces']; $index++) {
        echo "data: $number $index\n\n";
        flush();
        usleep((int) ($_GET['gap'] * 1000000));
    }
    echo "data: $number end $worker $name $release\n\n";
    exit;
}
usleep((int) (($_GET['ms'] ?? 0) * 1000));
header('Content-Type: application/json');
echo json_encode([
    'number' => (int) $number,
    'method' => $method,
    'bytes' => strlen($body),
    'checksum' => $checksum,
    'worker' => (int) $worker,
    'app' => $name,
    'release' => $release,
]);
