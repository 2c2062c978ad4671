answered by <?= $_SERVER['SERVER_ADDR'] ?>

