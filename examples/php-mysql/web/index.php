<?php
// A guest book: POST adds a row, every visit shows all of them.
mysqli_report(MYSQLI_REPORT_ERROR | MYSQLI_REPORT_STRICT);
try {
    $db = new mysqli(getenv('DB_HOST'), getenv('DB_USER'), getenv('DB_PASSWORD'), getenv('DB_NAME'));
    $db->query('CREATE TABLE IF NOT EXISTS visits (
        id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(80) NOT NULL, at TIMESTAMP DEFAULT CURRENT_TIMESTAMP)');
    if ($_SERVER['REQUEST_METHOD'] === 'POST' && trim($_POST['name'] ?? '') !== '') {
        $insert = $db->prepare('INSERT INTO visits (name) VALUES (?)');
        $name = mb_substr_safe(trim($_POST['name']));
        $insert->bind_param('s', $name);
        $insert->execute();
        header('Location: /', true, 303);
        exit;
    }
    $rows = $db->query('SELECT id, name, at FROM visits ORDER BY id')->fetch_all(MYSQLI_ASSOC);
} catch (mysqli_sql_exception $error) {
    http_response_code(503);
    die('The database does not answer: ' . htmlspecialchars($error->getMessage()) . "\n");
}

function mb_substr_safe(string $text): string
{
    return preg_match('/^.{0,80}/us', $text, $found) ? $found[0] : '';
}
?>
<!doctype html>
<title>Guest book</title>
<h1>Guest book</h1>
<form method="post"><input name="name" placeholder="Your name" required maxlength="80"> <button>Sign</button></form>
<p>rows: <?= count($rows) ?></p>
<ul>
<?php foreach ($rows as $row): ?>
  <li><?= htmlspecialchars($row['name']) ?> <small><?= $row['at'] ?></small></li>
<?php endforeach ?>
</ul>
