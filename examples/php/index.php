<?php
session_start();
if ($_SERVER['REQUEST_METHOD'] === 'POST') {
    $_SESSION['name'] = $_POST['name'];
    header('Location: /', true, 303);
    exit;
}
$_SESSION['visits'] = ($_SESSION['visits'] ?? 0) + 1;
?>
<!doctype html>
<title>PHP</title>
<h1>Hello, <?= htmlspecialchars($_SESSION['name'] ?? 'whoever you are') ?></h1>
<p>You were here <?= $_SESSION['visits'] ?> times.</p>
<form method="post"><input name="name"><button>That is me</button></form>
