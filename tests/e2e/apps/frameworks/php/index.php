<?php

function text(string $content): void
{
    header('Content-Type: text/plain; charset=utf-8');
    echo $content;
}

function json(array $content): void
{
    header('Content-Type: application/json');
    echo json_encode($content);
}

function numbers(): string
{
    $numbers = '';
    for ($i = 0; $i < 256; $i++) {
        $numbers .= chr($i * 7 % 256);
    }
    return str_repeat($numbers, 4096);
}

function refuse(): void
{
    http_response_code(405);
    echo 'This cannot be done here.';
}

$method = $_SERVER['REQUEST_METHOD'];
$path = rawurldecode(parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH));

if (preg_match('#^/path/([^/]+)/x$#', $path, $found)) {
    text($found[1]);
    exit;
}

switch ($path) {
    case '/':
        if (!in_array($method, ['GET', 'HEAD'])) {
            refuse();
            break;
        }
        echo '<!doctype html><title>Hello</title><h1>Hello</h1>';
        break;

    case '/greet':
        text('Hello ' . $_GET['name']);
        break;

    case '/form':
        if ($method === 'POST') {
            $query = http_build_query(['name' => $_POST['name'], 'colour' => $_POST['colour']]);
            header("Location: /form?$query", true, 303);
        } else {
            text("{$_GET['name']} likes {$_GET['colour']}");
        }
        break;

    case '/upload':
        $file = $_FILES['file'];
        json([
            'name' => $file['name'],
            'size' => $file['size'],
            'sha256' => hash_file('sha256', $file['tmp_name']),
            'note' => $_POST['note'],
        ]);
        break;

    case '/echo':
        header('Content-Type: ' . $_SERVER['CONTENT_TYPE']);
        echo file_get_contents('php://input');
        break;

    case '/method':
        text($method);
        break;

    case '/download':
        $numbers = numbers();
        header('Content-Type: application/octet-stream');
        header('Content-Disposition: attachment; filename="numbers.bin"');
        header('Content-Length: ' . strlen($numbers));
        echo $numbers;
        break;

    case '/stream':
        header('Content-Type: text/plain; charset=utf-8');
        for ($number = 1; $number <= 5; $number++) {
            if ($number > 1) {
                usleep(100000);
            }
            echo "line $number\n";
            ob_flush();
            flush();
        }
        break;

    case '/events':
        header('Content-Type: text/event-stream');
        for ($number = 1; $number <= 3; $number++) {
            echo "id: $number\ndata: event $number\n\n";
            ob_flush();
            flush();
        }
        break;

    case '/cookie':
        setcookie('a', '1');
        setcookie('b', '2');
        text('two cookies');
        break;

    case '/session':
        session_start();
        $_SESSION['visits'] = ($_SESSION['visits'] ?? 0) + 1;
        text((string) $_SESSION['visits']);
        break;

    case '/about':
        json([
            'scheme' => empty($_SERVER['HTTPS']) ? 'http' : 'https',
            'host' => $_SERVER['HTTP_HOST'],
            'client' => $_SERVER['REMOTE_ADDR'],
            'path' => $path,
            'query' => $_SERVER['QUERY_STRING'],
            'userAgent' => $_SERVER['HTTP_USER_AGENT'],
        ]);
        break;

    case '/error':
        throw new RuntimeException('a mistake made on purpose');

    case '/who':
        text((string) getmypid());
        break;

    default:
        http_response_code(404);
        echo '<!doctype html><title>Nothing here</title><h1>There is no such page</h1>';
}
